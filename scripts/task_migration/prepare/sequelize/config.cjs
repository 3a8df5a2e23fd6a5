// The connection for sequelize-cli, from the environment of the one process that runs it: a password in a file could be
// left behind, and one in the arguments could be read by everybody.
const connection = JSON.parse(process.env.TASK_MIGRATION_CONNECTION);
const { ssl } = connection.dialectOptions;

if (ssl && connection.anyHostName) {
  ssl.checkServerIdentity = () => undefined;
}
delete connection.anyHostName;

module.exports = connection;
