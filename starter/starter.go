package starter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

// Store is the database.
type Store interface {
	IntentStore
	SummaryStore
	EventStore
	UserRole(ctx context.Context, userID string) (string, error)
	Course(ctx context.Context, courseID string) (postgres.Course, error)
	Video(ctx context.Context, id contract.VideoID) (postgres.Loaded, error)
	Owner(ctx context.Context, id contract.VideoID) (postgres.Course, error)
	Transcript(ctx context.Context, id contract.VideoID) (postgres.StoredTranscript, error)
	CreateVideo(ctx context.Context, n postgres.NewVideo) (postgres.Created, error)
	DeleteVideo(ctx context.Context, id contract.VideoID, cleanupAfter time.Duration) (deleted bool, err error)
}

// Deps is what the starter works with. None of it needs to be reachable when the starter is made or run; only Store
// must be for the API to be of use.
type Deps struct {
	Store       Store
	Temporal    Temporal
	Publisher   Publisher
	Objects     Objects
	Transcripts Transcripts
	// Notifications are the Store's; nil where it has none, and then it is polled for listeners.
	Notifications Notifications
}

// Starter is the HTTP API and the relay behind it.
type Starter struct {
	store     Store
	temporal  Temporal
	publisher Publisher
	auth      *authenticator
	relay     *Relay
	files     *captionFiles
	bodies    *bodies
	metrics   *metrics
	events    *Events
	pages     *rounds[placeInCourse, coursePage]
	handler   http.Handler
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	close     context.CancelFunc
}

// New does not connect to anything. An error says which setting cannot work.
func New(deps Deps, cfg Config, log *slog.Logger) (*Starter, error) {
	cfg = cfg.withDefaults()
	for _, prefix := range cfg.TrustedProxies {
		if _, err := netip.ParsePrefix(prefix); err != nil {
			return nil, fmt.Errorf("trusted proxies: %q is not a prefix like 10.0.0.0/8", prefix)
		}
	}
	background, cancel := context.WithCancel(context.Background())
	auth, err := newAuthenticator(background, cfg, func(err error) {
		log.LogAttrs(background, slog.LevelWarn, "key set not fetched, will be tried again", slog.Any("error", err))
	})
	if err != nil {
		cancel()
		return nil, err
	}
	m, events := newMetrics(deps.Store), newEvents(deps.Store, deps.Notifications, cfg.LookInterval, log)
	if err := m.register(cfg.Metrics, events.listening, events.mode); err != nil {
		cancel()
		return nil, err
	}
	s := &Starter{
		store: deps.Store, temporal: deps.Temporal, publisher: deps.Publisher, auth: auth,
		relay:  newRelay(deps.Store, deps.Temporal, deps.Objects, cfg, m, log),
		events: events, pages: newRounds[placeInCourse, coursePage](make(chan struct{}, streamReads)),
		files: newCaptionFiles(deps.Transcripts), bodies: newBodies(cfg), metrics: m,
		cfg: cfg, log: log, now: time.Now, close: cancel,
	}
	s.handler = s.routes()
	return s, nil
}

// Handler is the API alone, for whoever serves it otherwise than by Run.
func (s *Starter) Handler() http.Handler { return s.handler }

// Relay is the relay alone.
func (s *Starter) Relay() *Relay { return s.relay }

// Events is what serves the streams of events alone.
func (s *Starter) Events() *Events { return s.events }

// Run serves the API and the relay until ctx ends, then lets requests in hand end within the configured time. It returns
// nil when it was ctx that ended it.
func (s *Starter) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("listen for the API: %w", err)
	}
	return s.Serve(ctx, listener)
}

// Serve is Run on a listener of the caller's; it closes it.
func (s *Starter) Serve(ctx context.Context, listener net.Listener) error {
	defer s.close()
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      requestTimeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "API listens", slog.String("address", listener.Addr().String()))

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the API: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		s.events.stop() // else their streams would be waited for
		inTime, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
		defer cancel()
		if err := server.Shutdown(inTime); err != nil {
			s.log.LogAttrs(inTime, slog.LevelWarn, "requests in hand were cut off", slog.Any("error", err))
			return server.Close()
		}
		return nil
	})
	g.Go(func() error { return s.relay.Run(ctx) })
	g.Go(func() error { return s.events.Run(ctx) })
	return g.Wait()
}
