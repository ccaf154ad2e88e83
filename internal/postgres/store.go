package postgres

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Store runs all queries. It is safe for concurrent use.
type Store struct {
	pool       *pgxpool.Pool
	timeout    time.Duration
	announcer  *announcer
	forgetting forgetters
}

// Option changes how a Store connects.
type Option func(*options)

type options struct {
	maxConns int32
	timeout  time.Duration
	appName  string
	meters   metric.MeterProvider
	process  string
	traces   trace.TracerProvider
}

// WithMaxConns bounds the connections that the Store holds. Default: pool_max_conns of the URL, else the larger of 16 and
// four for each CPU. Too few make callers wait for each other, within their time-out. They are opened when they are needed
// and closed after five minutes.
func WithMaxConns(n int32) Option { return func(o *options) { o.maxConns = n } }

// WithTimeout bounds each call, waiting for a connection and for locks included. Default: 10 s.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithApplicationName is what the server shows for our connections in pg_stat_activity, unless the URL says otherwise.
// Default: vidflow.
func WithApplicationName(name string) Option { return func(o *options) { o.appName = name } }

// WithMetrics has the state of the pool of connections measured, with the process as a label. Default: nobody measures it.
func WithMetrics(meters metric.MeterProvider, process string) Option {
	return func(o *options) { o.meters, o.process = meters, process }
}

// WithTraces makes spans of statements that are part of a trace, with their text and without their parameters. Default, and
// with nil: none.
func WithTraces(provider trace.TracerProvider) Option {
	return func(o *options) { o.traces = provider }
}

const (
	defaultTimeout        = 10 * time.Second
	defaultConnectTimeout = 5 * time.Second
)

// Open prepares a Store and does not connect: a database that is away is an error of the call that needs it. The
// error is a *SetupError when the URL is not one; it never holds the URL.
func Open(ctx context.Context, url string, opts ...Option) (*Store, error) {
	o := options{timeout: defaultTimeout, appName: "vidflow"}
	for _, opt := range opts {
		opt(&o)
	}
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, urlError(err)
	}
	prepare(cfg.ConnConfig, o.appName)
	new(preparing).use(cfg)
	cfg.MinConns = 0
	cfg.MaxConnIdleTime = 5 * time.Minute
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = defaultMaxConns()
	}
	if o.maxConns > 0 {
		cfg.MaxConns = o.maxConns
	}
	if o.traces != nil {
		cfg.ConnConfig.Tracer = otelpgx.NewTracer(
			otelpgx.WithTracerProvider(o.traces),
			otelpgx.WithMeterProvider(noop.NewMeterProvider()),
			otelpgx.WithDisableConnectionDetailsInAttributes(),
			otelpgx.WithDisableAcquireTracer(), // one more for each statement, of no length
		)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, wrap(err, "prepare connections to the database")
	}
	if o.meters != nil {
		err := otelpgx.RecordStats(pool, otelpgx.WithStatsMeterProvider(o.meters),
			otelpgx.WithStatsAttributes(attribute.String("process", o.process)))
		if err != nil {
			pool.Close()
			return nil, wrap(err, "measure the connections to the database")
		}
	}
	return &Store{pool: pool, timeout: o.timeout, announcer: newAnnouncer(pool)}, nil
}

// Close waits for the calls that run, announces what they changed, and closes all connections.
func (s *Store) Close() {
	s.forgetting.running.Wait()
	s.announcer.close()
	s.pool.Close()
}

// Ping asks the server for a sign of life; for readiness, where Check would be too much.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return wrap(s.pool.Ping(ctx), "reach the database")
}

// prepare makes a connection fit for a transaction pooler: statements are not kept prepared unless preparing says so, and
// the parameters that other drivers put into the URL for a pooler's sake are not sent to the server, which would refuse them.
func prepare(cfg *pgx.ConnConfig, appName string) {
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.StatementCacheCapacity = 128 // more than there are statements
	cfg.DescriptionCacheCapacity = 0
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = defaultConnectTimeout
	}
	delete(cfg.RuntimeParams, "pgbouncer")
	delete(cfg.RuntimeParams, "connection_limit")
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = appName
	}
}

// defaultMaxConns goes beyond the CPUs, since a commit waits for the server's disk, and many that wait at the same time wait
// once. Videos created a second by 32 callers on two CPUs, measured with 4, 8, 16 and 32 connections: 330, 629, 1036, 1455.
func defaultMaxConns() int32 { return int32(max(16, 4*runtime.GOMAXPROCS(0))) } //nolint:gosec // a number of CPUs

// urlError says what is wrong with the URL without repeating it: the driver's own message masks the password only as
// well as it can.
func urlError(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return &SetupError{Problem: "DATABASE_URL names a file that cannot be read", Err: file}
	}
	return &SetupError{
		Problem: "DATABASE_URL is not a URL of a Postgres database",
		Mend:    "write it as postgres://user:password@host:5432/database, with special characters of the password percent-encoded",
	}
}

// bound gives a call its time-out. When it ends early, the driver has the server cancel what it is at.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// change locks the row of a video in pipeline.videos, runs one statement and reads the row back: three statements of
// one transaction in one round trip. The statement has the id as $1 and tells by its number of rows whether it did
// anything; it sees all that was committed before the lock was had. The pipeline is nil when there is no row.
func (s *Store) change(ctx context.Context, id contract.VideoID, sql string, args ...any) (
	changed bool, p *contract.Pipeline, err error,
) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var b pgx.Batch
	b.Queue(lockPipeline, string(id))
	b.Queue(sql, append([]any{string(id)}, args...)...).Exec(func(tag pgconn.CommandTag) error {
		changed = tag.RowsAffected() > 0
		return nil
	})
	b.Queue(selectPipeline, string(id)).QueryRow(func(row pgx.Row) error {
		p, err = scanPipeline(row)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return false, nil, err
	}
	if changed && p != nil {
		s.announcer.announce(Change{VideoID: id, Revision: p.Revision, CourseID: p.CourseID})
	}
	return changed, p, nil
}

// announced runs a statement that returns changeColumns of what it changed.
func (s *Store) announced(ctx context.Context, sql string, args ...any) error {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	changes, err := collectChanges(rows)
	if err != nil {
		return err
	}
	s.announcer.announce(changes...)
	return nil
}

const lockPipeline = `select from pipeline.videos where video_id = $1 for update`

// isUUID guards columns of type uuid against ids that callers got from outside.
func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }
