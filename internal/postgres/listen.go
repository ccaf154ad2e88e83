package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Change says that the row of a video in pipeline.videos is a new one, or another than it was.
type Change struct {
	VideoID  contract.VideoID
	Revision int64
	// CourseID is empty where none is known.
	CourseID string
}

// Channels of the database: of changes, and one to find out whether anything is heard at all.
const (
	changesChannel = "vidflow_videos"
	helloChannel   = "vidflow_hello"
)

const (
	// helloTimeout is how long a notification of our own may take.
	helloTimeout = 5 * time.Second
	// silence is after how long without a notification the connection is asked whether it lives.
	silence = 20 * time.Second
)

// Notifications are what the database itself says of changes. They need a session of their own, which a transaction
// pooler does not give.
type Notifications struct {
	cfg   *pgx.ConnConfig
	store *Store
}

// Notifications prepares to listen at the database of this URL, which must be the Store's own, and does not connect.
func (s *Store) Notifications(url string) (*Notifications, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, &SetupError{
			Problem: "DATABASE_LISTEN_URL is not a URL of a Postgres database",
			Mend:    "write it as DATABASE_URL, with the address of the server itself",
		}
	}
	prepare(cfg, s.pool.Config().ConnConfig.RuntimeParams["application_name"]+" listens")
	return &Notifications{cfg: cfg, store: s}, nil
}

// Listen hands on every change that is announced after it called started, until ctx ends or the connection is lost; it
// always returns an error. Of a process that was killed the last changes may be missing, and changes of several processes
// may come in another order than that of their commits. Neither function may block. It is a *SetupError when nothing can be
// heard at this URL.
func (n *Notifications) Listen(ctx context.Context, started func(), changed func(Change)) error {
	conn, err := pgx.ConnectConfig(ctx, n.cfg)
	if err != nil {
		return wrap(err, "connect to listen for notifications")
	}
	defer func() {
		inTime, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(inTime) // it is lost or no longer needed
	}()
	if err := n.begin(ctx, conn, changed); err != nil {
		return err
	}
	started()
	for {
		inTime, cancel := context.WithTimeout(ctx, silence)
		heard, err := conn.WaitForNotification(inTime)
		cancel()
		switch {
		case err == nil:
			if c, ok := parseChange(heard.Channel, heard.Payload); ok {
				changed(c)
			}
			continue
		case ctx.Err() != nil || conn.IsClosed():
			return wrap(err, "listen for notifications")
		}
		inTime, cancel = context.WithTimeout(ctx, helloTimeout)
		err = conn.Ping(inTime)
		cancel()
		if err != nil {
			return wrap(err, "listen for notifications")
		}
	}
}

// begin listens, and makes sure that what the Store's own connections say is heard: through a transaction pooler, or at
// another database, LISTEN succeeds and nothing ever comes.
func (n *Notifications) begin(ctx context.Context, conn *pgx.Conn, changed func(Change)) error {
	inTime, cancel := context.WithTimeout(ctx, 2*helloTimeout)
	defer cancel()
	for _, channel := range []string{changesChannel, helloChannel} {
		if _, err := conn.Exec(inTime, "listen "+channel); err != nil {
			return wrap(err, "listen for notifications")
		}
	}
	token := uuid.NewString()
	if _, err := n.store.pool.Exec(inTime, `select pg_notify($1, $2)`, helloChannel, token); err != nil {
		return wrap(err, "try the notifications")
	}
	inTime, cancel = context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	for {
		heard, err := conn.WaitForNotification(inTime)
		switch {
		case err == nil && heard.Channel == helloChannel && heard.Payload == token:
			return nil
		case err == nil:
			if c, ok := parseChange(heard.Channel, heard.Payload); ok {
				changed(c)
			}
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return &SetupError{
				Problem: "at DATABASE_LISTEN_URL nothing is heard of what is said at DATABASE_URL",
				Mend: "give DATABASE_LISTEN_URL the address of the server itself, of the same database: a transaction pooler" +
					" passes no notifications on; where there is no such address, leave it unset",
			}
		default:
			return wrap(err, "try the notifications")
		}
	}
}

// parseChange reads what payload wrote.
func parseChange(channel, payload string) (Change, bool) {
	if channel != changesChannel {
		return Change{}, false
	}
	id, rest, _ := strings.Cut(payload, " ")
	revision, course, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(revision, 10, 64)
	video, invalid := contract.ParseVideoID(id)
	return Change{VideoID: video, Revision: n, CourseID: course}, err == nil && invalid == nil
}

// lateCommit is how much later than its updated_at a change may be seen: no transaction of vidflow is open for longer,
// the role's own limits see to that.
const lateCommit = 30 * time.Second

// Changes finds what changed since a time that an earlier call answered with, among these videos and the videos of these
// courses. A change may be found again for half a minute. With a zero time it finds nothing and answers with the time.
func (s *Store) Changes(ctx context.Context, since time.Time, videos []contract.VideoID, courses []string) (
	changes []Change, now time.Time, err error,
) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var b pgx.Batch
	b.Queue(`select clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
	if !since.IsZero() {
		b.Queue(`
			select `+changeColumns+` from pipeline.videos p
			where updated_at > $1::timestamptz
				and (video_id = any(string_to_array($2::text, ',')::uuid[]) or course_id = any(string_to_array($3::text, ',')::uuid[]))`,
			since.Add(-lateCommit), joined(videos), strings.Join(courses, ",")).
			Query(func(rows pgx.Rows) (err error) {
				changes, err = collectChanges(rows)
				return err
			})
	}
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return nil, time.Time{}, wrap(err, "look for changes")
	}
	return changes, now, nil
}

// joined is a list of ids as one parameter: string_to_array(…, ',')::uuid[].
func joined(ids []contract.VideoID) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, id)
	}
	return b.String()
}
