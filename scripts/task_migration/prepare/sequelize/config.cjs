// The connection for sequelize-cli, from the environment of its process: a password in a file might remain there, and a
// password in the arguments is visible to every user of the machine.
const connection = JSON.parse(process.env.TASK_MIGRATION_CONNECTION);
const { ssl } = connection.dialectOptions;

if (ssl && connection.anyHostName) {
  ssl.checkServerIdentity = () => undefined;
}
delete connection.anyHostName;

module.exports = connection;
