CREATE TABLE task_images (
    id          SERIAL PRIMARY KEY,
    task_id     INTEGER NOT NULL REFERENCES tasks (id),
    s3_key      VARCHAR(500) NOT NULL,
    s3_url      VARCHAR(1000) NOT NULL,
    uploaded_by VARCHAR(255) NOT NULL,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at  TIMESTAMP WITH TIME ZONE NOT NULL
);

COMMENT ON COLUMN task_images.s3_key IS 'S3オブジェクトキー';
COMMENT ON COLUMN task_images.s3_url IS 'S3署名付きURL';
COMMENT ON COLUMN task_images.uploaded_by IS 'Cognito Sub';
