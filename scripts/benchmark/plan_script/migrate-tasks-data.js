// The migration plan's script (section 4.1), as it stands there, so that the benchmark can measure its way: one INSERT per
// row. Changed so that it runs at all, each place marked with "changed": the tags' columns, the ports, and an approver
// without a Cognito sub (Sequelize refuses undefined). It is not changed where it is wrong but runs.
import { Sequelize } from 'sequelize';
import pg from 'pg';

const laravelDb = new pg.Client({
    host: process.env.LARAVEL_DB_HOST,
    database: process.env.LARAVEL_DB_NAME,
    user: process.env.LARAVEL_DB_USER,
    password: process.env.LARAVEL_DB_PASSWORD,
    port: process.env.LARAVEL_DB_PORT, // changed: was 5432
});

const taskServiceDb = new Sequelize(
    process.env.TASK_SERVICE_DB_NAME,
    process.env.TASK_SERVICE_DB_USER,
    process.env.TASK_SERVICE_DB_PASSWORD,
    {
        host: process.env.TASK_SERVICE_DB_HOST,
        port: process.env.TASK_SERVICE_DB_PORT, // changed: was Sequelize's 5432
        dialect: 'postgres',
    }
);

async function migrateTaskData() {
    await laravelDb.connect();

    const mappingResult = await laravelDb.query(`
        SELECT laravel_user_id, cognito_sub
        FROM cognito_user_mapping
    `);
    const userMapping = new Map(
        mappingResult.rows.map(row => [row.laravel_user_id, row.cognito_sub])
    );

    // changed: tags has no tag_id; it is task_tag's
    const tasksResult = await laravelDb.query(`
        SELECT
            t.*,
            COALESCE(
                json_agg(
                    json_build_object('id', tt.tag_id, 'name', tg.name)
                ) FILTER (WHERE tt.tag_id IS NOT NULL),
                '[]'::json
            ) as tags
        FROM tasks t
        LEFT JOIN task_tag tt ON t.id = tt.task_id
        LEFT JOIN tags tg ON tt.tag_id = tg.id
        WHERE t.deleted_at IS NULL
        GROUP BY t.id
        ORDER BY t.created_at ASC
    `);

    console.log(`移行対象タスク: ${tasksResult.rows.length}件`);

    for (const task of tasksResult.rows) {
        const cognitoSub = userMapping.get(task.user_id);

        if (!cognitoSub) {
            console.warn(`[SKIP] user_id=${task.user_id} はCognito未移行`);
            continue;
        }

        let approvedBy = null;
        if (task.approved_by_user_id) {
            approvedBy = userMapping.get(task.approved_by_user_id) ?? null; // changed: was undefined
        }

        await taskServiceDb.query(`
            INSERT INTO tasks (
                id, user_id, title, description,
                difficulty, status, completed_at, approved_at,
                approved_by, tags, created_at, updated_at
            ) VALUES (
                :id, :user_id, :title, :description,
                :difficulty, :status, :completed_at, :approved_at,
                :approved_by, :tags, :created_at, :updated_at
            )
        `, {
            replacements: {
                id: task.id,
                user_id: cognitoSub,
                title: task.title,
                description: task.description,
                difficulty: task.priority || 3,
                status: task.is_completed ? 'completed' : 'pending',
                completed_at: task.completed_at,
                approved_at: task.approved_at,
                approved_by: approvedBy,
                tags: JSON.stringify(task.tags),
                created_at: task.created_at,
                updated_at: task.updated_at,
            },
        });

        if (task.group_task_id) {
            await taskServiceDb.query(`
                INSERT INTO group_tasks (
                    group_id, task_id, reward,
                    requires_approval, requires_image,
                    created_at, updated_at
                ) VALUES (
                    :group_id, :task_id, :reward,
                    :requires_approval, :requires_image,
                    :created_at, :updated_at
                )
            `, {
                replacements: {
                    group_id: task.group_task_id,
                    task_id: task.id,
                    reward: task.reward,
                    requires_approval: task.requires_approval,
                    requires_image: task.requires_image,
                    created_at: task.created_at,
                    updated_at: task.updated_at,
                },
            });
        }
    }

    const imagesResult = await laravelDb.query(`
        SELECT ti.*, m.cognito_sub as uploaded_by_cognito
        FROM task_images ti
        JOIN tasks t ON ti.task_id = t.id
        JOIN cognito_user_mapping m ON t.user_id = m.laravel_user_id
        WHERE t.deleted_at IS NULL
    `);

    for (const image of imagesResult.rows) {
        await taskServiceDb.query(`
            INSERT INTO task_images (
                id, task_id, s3_key, s3_url,
                uploaded_by, created_at, updated_at
            ) VALUES (
                :id, :task_id, :s3_key, :s3_url,
                :uploaded_by, :created_at, :updated_at
            )
        `, {
            replacements: {
                id: image.id,
                task_id: image.task_id,
                s3_key: image.file_path,
                s3_url: `https://${process.env.S3_BUCKET}.s3.amazonaws.com/${image.file_path}`,
                uploaded_by: image.uploaded_by_cognito,
                created_at: image.created_at,
                updated_at: image.updated_at,
            },
        });
    }

    console.log('✅ データ移行完了');
}

migrateTaskData()
    .then(() => process.exit(0))
    .catch(err => {
        console.error('❌ 移行エラー:', err);
        process.exit(1);
    });
