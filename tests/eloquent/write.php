<?php
// One scenario's writes by the real Eloquent: php write.php SCENARIO. The database is the one that libpq's own variables
// name (PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSFILE); libpq reads the password from the passfile, PHP never sees it.
// Prints every statement that was sent and is no read, in SQL that psql takes.

error_reporting(E_ALL & ~E_DEPRECATED); // Illuminate 8 is older than PHP 8.2
ini_set('display_errors', 'stderr');
ini_set('log_errors', '0');
set_error_handler(function (int $level, string $message, string $file, int $line): bool {
    if (!(error_reporting() & $level)) {
        return false;
    }
    throw new ErrorException($message, 0, $level, $file, $line);
});

require_once 'Illuminate/Database/autoload.php';
require_once 'Illuminate/Events/autoload.php';
require_once __DIR__ . '/recording.php';
require_once __DIR__ . '/models.php';

use Illuminate\Container\Container;
use Illuminate\Database\Capsule\Manager;
use Illuminate\Events\Dispatcher;
use Illuminate\Support\Carbon;

const LARAVEL_TIMEZONE = 'Asia/Tokyo';

// The clock stands still, so that a scenario sends the same at every run; Eloquent writes it without the fraction.
date_default_timezone_set(LARAVEL_TIMEZONE);
Carbon::setTestNow('2025-03-04 12:34:56.789012');

$recording = new Recording();
$container = new Container();
$container->instance('db.connector.pgsql', new RecordingConnector($recording));
$capsule = new Manager($container);
$capsule->addConnection([
    'driver' => 'pgsql',
    'host' => getenv('PGHOST'),
    'port' => getenv('PGPORT'),
    'database' => getenv('PGDATABASE'),
    'username' => getenv('PGUSER'),
    'password' => null,
    'charset' => 'utf8',
    'schema' => 'public',
    'timezone' => LARAVEL_TIMEZONE,
]);
$capsule->setEventDispatcher(new Dispatcher($container));
$capsule->setAsGlobal();
$capsule->bootEloquent();

$scenarios = require __DIR__ . '/scenarios.php';
$scenarios[$argv[1]]();
foreach ($recording->sent as $statement) {
    echo $statement, ";\n";
}
