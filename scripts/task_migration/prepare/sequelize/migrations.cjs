// Prints, as one line of JSON, which migrations sequelize-cli would find in the current directory. Its own
// db:migrate:status prints them too, but it creates the table SequelizeMeta.
const fs = require('fs');
const path = require('path');

const file = path.resolve('.sequelizerc');
const options = fs.existsSync(file) ? JSON.parse(JSON.stringify(require(file))) : {};
const folder = path.resolve(options['migrations-path'] || options.migrationsPath || 'migrations');
const names = fs.existsSync(folder)
  ? fs.readdirSync(folder).filter((name) => /^(?!.*\.d\.ts$).*\.(cjs|js|cts|ts)$/.test(name)).sort()
  : null;

console.log(JSON.stringify({ folder, names, namesItsOwnDatabase: 'url' in options }));
