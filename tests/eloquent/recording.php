<?php
// A PDO that remembers every statement it is asked to send, with the values that were bound to it.

use Illuminate\Database\Connectors\PostgresConnector;

final class Recording
{
    /** @var list<string> */
    public array $sent = [];

    /** Reads are left out: they write nothing, and what Eloquent reads on its way is its own affair. */
    public function add(string $statement): void
    {
        if (!preg_match('/^\s*select\b/i', $statement)) {
            $this->sent[] = $statement;
        }
    }
}

final class RecordingConnector extends PostgresConnector
{
    public function __construct(private Recording $recording)
    {
    }

    protected function createPdoConnection($dsn, $username, $password, $options)
    {
        return new RecordingPdo($this->recording, $dsn, $username, $password, $options);
    }
}

final class RecordingPdo extends PDO
{
    public function __construct(private Recording $recording, $dsn, $username, $password, $options)
    {
        parent::__construct($dsn, $username, $password, $options);
        $this->setAttribute(PDO::ATTR_STATEMENT_CLASS, [RecordingStatement::class, [$recording, $this]]);
    }

    public function exec(string $statement): int|false
    {
        $this->recording->add($statement);
        return parent::exec($statement);
    }

    public function beginTransaction(): bool
    {
        $this->recording->add('begin');
        return parent::beginTransaction();
    }

    public function commit(): bool
    {
        $this->recording->add('commit');
        return parent::commit();
    }

    public function rollBack(): bool
    {
        $this->recording->add('rollback');
        return parent::rollBack();
    }
}

final class RecordingStatement extends PDOStatement
{
    /** @var array<int, mixed> */
    private array $bound = [];

    protected function __construct(private Recording $recording, private PDO $pdo)
    {
    }

    public function bindValue(string|int $param, mixed $value, int $type = PDO::PARAM_STR): bool
    {
        $this->bound[$param] = $value;
        return parent::bindValue($param, $value, $type);
    }

    public function execute(?array $params = null): bool
    {
        $values = array_values($this->bound);
        // Quoted, numbers too: the driver sends every value as text without a type, which is what a quoted literal is.
        $literal = fn ($value) => $value === null ? 'null' : $this->pdo->quote((string) $value);
        $this->recording->add(preg_replace_callback('/\?/', function () use (&$values, $literal) {
            return $literal(array_shift($values));
        }, $this->queryString));
        return parent::execute($params);
    }
}
