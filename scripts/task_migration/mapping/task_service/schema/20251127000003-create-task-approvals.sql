CREATE TYPE enum_task_approvals_status AS ENUM ('pending', 'approved', 'rejected');

CREATE TABLE task_approvals (
    id          SERIAL PRIMARY KEY,
    task_id     INTEGER NOT NULL REFERENCES tasks (id),
    approver_id VARCHAR(255) NOT NULL,
    status      enum_task_approvals_status DEFAULT 'pending',
    comment     TEXT,
    approved_at TIMESTAMP WITH TIME ZONE,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at  TIMESTAMP WITH TIME ZONE NOT NULL
);

COMMENT ON COLUMN task_approvals.approver_id IS 'Cognito Sub';
