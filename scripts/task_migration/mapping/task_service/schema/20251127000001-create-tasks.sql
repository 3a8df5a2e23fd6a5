CREATE TYPE enum_tasks_status AS ENUM ('pending', 'in_progress', 'completed', 'approved', 'rejected');

CREATE TABLE tasks (
    id           SERIAL PRIMARY KEY,
    user_id      VARCHAR(255) NOT NULL,
    title        VARCHAR(100) NOT NULL,
    description  TEXT,
    difficulty   INTEGER DEFAULT 1,
    category_id  INTEGER,
    status       enum_tasks_status DEFAULT 'pending',
    completed_at TIMESTAMP WITH TIME ZONE,
    approved_at  TIMESTAMP WITH TIME ZONE,
    approved_by  VARCHAR(255),
    reflection   TEXT,
    tags         JSONB DEFAULT '[]',
    created_at   TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at   TIMESTAMP WITH TIME ZONE NOT NULL
);

COMMENT ON COLUMN tasks.user_id IS 'Cognito Sub (UUID)';
COMMENT ON COLUMN tasks.approved_by IS '承認者のCognito Sub';
COMMENT ON COLUMN tasks.reflection IS '振り返りコメント';
COMMENT ON COLUMN tasks.tags IS 'タグ配列';

CREATE INDEX tasks_user_id ON tasks (user_id);
CREATE INDEX tasks_status ON tasks (status);
CREATE INDEX tasks_created_at ON tasks (created_at);
