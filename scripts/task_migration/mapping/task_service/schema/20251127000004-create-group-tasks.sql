CREATE TABLE group_tasks (
    id                SERIAL PRIMARY KEY,
    group_id          UUID NOT NULL,
    task_id           INTEGER NOT NULL REFERENCES tasks (id),
    reward            INTEGER,
    requires_approval BOOLEAN DEFAULT FALSE,
    requires_image    BOOLEAN DEFAULT FALSE,
    created_at        TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at        TIMESTAMP WITH TIME ZONE NOT NULL
);

COMMENT ON COLUMN group_tasks.group_id IS 'グループタスクID';
COMMENT ON COLUMN group_tasks.reward IS '報酬額';
