-- Laravel's tables from the migration plan (section 2.1), in DDL that PostgreSQL accepts: indexes and comments are separate
-- statements, and indexes have Laravel's names, because one schema cannot have two indexes named idx_task_id.
-- The plan only refers to users and tags; here they are Laravel's usual tables.
-- The foreign keys and indexes are a separate block, so that a million rows load quickly before it.

-- name: tables
CREATE TABLE users (
    id          BIGSERIAL PRIMARY KEY,
    name        VARCHAR(255) NOT NULL,
    email       VARCHAR(255) NOT NULL,
    cognito_sub VARCHAR(255) NULL,
    created_at  TIMESTAMP NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMP NOT NULL DEFAULT NOW()
);

CREATE TABLE tags (
    id         BIGSERIAL PRIMARY KEY,
    name       VARCHAR(255) NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMP NOT NULL DEFAULT NOW()
);

CREATE TABLE task_proposals (
    id                          BIGSERIAL PRIMARY KEY,
    user_id                     BIGINT NOT NULL,
    original_task_text          VARCHAR(255) NOT NULL,
    proposal_context            TEXT,
    proposed_tasks_json         JSONB,
    model_used                  VARCHAR(100),
    prompt_tokens               INTEGER DEFAULT 0,
    completion_tokens           INTEGER DEFAULT 0,
    total_tokens                INTEGER DEFAULT 0,
    adopted_proposed_tasks_json JSONB,
    was_adopted                 BOOLEAN DEFAULT FALSE,
    created_at                  TIMESTAMP NOT NULL DEFAULT NOW(),
    updated_at                  TIMESTAMP NOT NULL DEFAULT NOW()
);

CREATE TABLE tasks (
    id                  BIGSERIAL PRIMARY KEY,
    user_id             BIGINT NOT NULL,
    source_proposal_id  BIGINT NULL,
    assigned_by_user_id BIGINT NULL,
    approved_by_user_id BIGINT NULL,
    title               VARCHAR(255) NOT NULL,
    description         TEXT,
    due_date            VARCHAR(255),
    span                INTEGER,
    priority            SMALLINT DEFAULT 3,
    group_task_id       UUID NULL,
    reward              INTEGER,
    requires_approval   BOOLEAN DEFAULT FALSE,
    requires_image      BOOLEAN DEFAULT FALSE,
    approved_at         TIMESTAMP,
    is_completed        BOOLEAN DEFAULT FALSE,
    completed_at        TIMESTAMP,
    created_at          TIMESTAMP NOT NULL DEFAULT NOW(),
    updated_at          TIMESTAMP NOT NULL DEFAULT NOW(),
    deleted_at          TIMESTAMP
);

CREATE TABLE task_images (
    id          BIGSERIAL PRIMARY KEY,
    task_id     BIGINT NOT NULL,
    file_path   VARCHAR(255) NOT NULL,
    approved_at TIMESTAMP,
    delete_at   TIMESTAMP,
    created_at  TIMESTAMP NOT NULL DEFAULT NOW(),
    updated_at  TIMESTAMP NOT NULL DEFAULT NOW()
);

CREATE TABLE task_tag (
    task_id BIGINT NOT NULL,
    tag_id  BIGINT NOT NULL,
    PRIMARY KEY (task_id, tag_id)
);

CREATE TABLE task_executions (
    id                       BIGSERIAL PRIMARY KEY,
    task_id                  BIGINT NOT NULL,
    proposal_id              BIGINT NOT NULL,
    estimated_effort_minutes INTEGER,
    actual_effort_minutes    INTEGER,
    completion_status        VARCHAR(50) DEFAULT 'pending',
    is_high_quality          BOOLEAN,
    created_at               TIMESTAMP NOT NULL DEFAULT NOW(),
    updated_at               TIMESTAMP NOT NULL DEFAULT NOW()
);

COMMENT ON COLUMN task_images.file_path IS '画像ファイルパス（S3キー）';
COMMENT ON COLUMN task_images.approved_at IS '承認日時';
COMMENT ON COLUMN task_images.delete_at IS '削除予定日時（承認後3日）';
COMMENT ON COLUMN task_executions.estimated_effort_minutes IS '予想所要時間（分）';
COMMENT ON COLUMN task_executions.actual_effort_minutes IS '実際の所要時間（分）';
COMMENT ON COLUMN task_executions.completion_status IS 'pending, completed, abandoned, partial';
COMMENT ON COLUMN task_executions.is_high_quality IS '高品質フラグ';
COMMENT ON COLUMN task_proposals.original_task_text IS 'ユーザーが入力した元のタスク';
COMMENT ON COLUMN task_proposals.proposal_context IS '分割を依頼した際のプロンプト/観点';
COMMENT ON COLUMN task_proposals.proposed_tasks_json IS 'AIが提案した全分割タスクのJSON配列';
COMMENT ON COLUMN task_proposals.model_used IS '使用したAIモデル名';
COMMENT ON COLUMN task_proposals.adopted_proposed_tasks_json IS 'ユーザが採用したタスク群のJSON配列';

-- name: foreign keys and indexes
ALTER TABLE task_proposals
    ADD CONSTRAINT task_proposals_user_id_foreign FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE tasks
    ADD CONSTRAINT tasks_user_id_foreign FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    ADD CONSTRAINT tasks_source_proposal_id_foreign
        FOREIGN KEY (source_proposal_id) REFERENCES task_proposals (id) ON DELETE SET NULL,
    ADD CONSTRAINT tasks_assigned_by_user_id_foreign
        FOREIGN KEY (assigned_by_user_id) REFERENCES users (id) ON DELETE SET NULL,
    ADD CONSTRAINT tasks_approved_by_user_id_foreign
        FOREIGN KEY (approved_by_user_id) REFERENCES users (id) ON DELETE SET NULL;
ALTER TABLE task_images
    ADD CONSTRAINT task_images_task_id_foreign FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE;
ALTER TABLE task_tag
    ADD CONSTRAINT task_tag_task_id_foreign FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE,
    ADD CONSTRAINT task_tag_tag_id_foreign FOREIGN KEY (tag_id) REFERENCES tags (id) ON DELETE CASCADE;
ALTER TABLE task_executions
    ADD CONSTRAINT task_executions_task_id_foreign FOREIGN KEY (task_id) REFERENCES tasks (id),
    ADD CONSTRAINT task_executions_proposal_id_foreign
        FOREIGN KEY (proposal_id) REFERENCES task_proposals (id) ON DELETE CASCADE;
CREATE INDEX tasks_user_id_index ON tasks (user_id);
CREATE INDEX tasks_group_task_id_index ON tasks (group_task_id);
CREATE INDEX task_images_task_id_index ON task_images (task_id);
CREATE INDEX task_executions_task_id_index ON task_executions (task_id);
CREATE INDEX task_proposals_user_id_index ON task_proposals (user_id);
