package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/codeendelea/vidflow/devstack/ports"
	"github.com/codeendelea/vidflow/devstack/process"
	"github.com/codeendelea/vidflow/devstack/readiness"
	"github.com/codeendelea/vidflow/devstack/seed"
	"github.com/codeendelea/vidflow/devstack/storage"
	"github.com/codeendelea/vidflow/internal/contract"
)

// maxMessageBytes is what Kafka is told to take: the largest that vidflow's clients let through, and what a batch has beside it.
const maxMessageBytes = 17 << 20

// largest is MAX_TRANSCRIPT_BYTES, where it is not set: the largest transcript that the API takes.
const largest = 16 << 20

// servers are those of `devstack exec`, for processes of vidflow that are measured one after the other.
type servers struct {
	binary  string
	pods    map[string]pod
	block   ports.Block
	db      *pgxpool.Pool // as the superuser
	kafka   *kgo.Client
	admin   *kadm.Client
	storage storage.Controller
	topic   string // of transcripts
	undo    []func()
}

func (c *command) servers(ctx context.Context) (_ *servers, err error) {
	if err := missingEnvironment(); err != nil {
		return nil, err
	}
	pods, err := pods(c.Base)
	if err != nil {
		return nil, err
	}
	s := &servers{binary: c.Binary, pods: pods, storage: storage.Controller{URL: os.Getenv("VIDFLOW_TEST_STORAGE_CONTROL")}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	block, anchor, err := ports.Free()
	if err != nil {
		return nil, err
	}
	s.block = block
	s.undo = append(s.undo, func() { _ = anchor.Close() })
	address, err := url.Parse(os.Getenv("VIDFLOW_TEST_POSTGRES_URL"))
	if err != nil {
		return nil, err
	}
	database, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	address.Path = database.Path
	if s.db, err = pgxpool.New(ctx, address.String()); err != nil {
		return nil, err
	}
	s.undo = append(s.undo, s.db.Close)
	s.kafka, err = kgo.NewClient(kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")))
	if err != nil {
		return nil, err
	}
	s.undo = append(s.undo, s.kafka.Close)
	s.admin = kadm.NewClient(s.kafka)
	return s, nil
}

func (s *servers) close() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
}

// begin gives what comes a topic of its own.
func (s *servers) begin(ctx context.Context) error {
	s.topic = "strain-" + uuid.NewString()[:8]
	limit := fmt.Sprint(maxMessageBytes)
	made, err := s.admin.CreateTopics(ctx, partitions, 1, map[string]*string{"max.message.bytes": &limit}, s.topic, s.topic+contract.DeadLetterSuffix)
	return errors.Join(err, made.Error())
}

// end removes the topic.
func (s *servers) end(ctx context.Context) error {
	_, err := s.admin.DeleteTopics(context.WithoutCancel(ctx), s.topic, s.topic+contract.DeadLetterSuffix)
	return err
}

// start starts a process of vidflow and returns when it is ready.
func (s *servers) start(ctx context.Context, name string) (*process.Process, error) {
	service := map[string]ports.Service{"worker": ports.WorkerOps, "starter": ports.StarterOps, "kafkabridge": ports.BridgeOps}[name]
	log, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(s.binary, name)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), s.pods[name].env...)
	cmd.Env = append(cmd.Env, "OPS_ADDR="+s.block.Addr(service), "LOG_FORMAT=json", "RATE_LIMIT=0",
		"HOST=127.0.0.1", fmt.Sprintf("PORT=%d", s.block.Port(ports.API)),
		"KAFKA_CONSUME_TOPIC="+s.topic, "KAFKA_TRANSCRIPTION_GROUP="+s.topic)
	started, err := process.Start(cmd, process.Options{})
	if err != nil {
		return nil, err
	}
	var missing string
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = await(ctx, started, func() (bool, error) {
		missing = readiness.Missing(ctx, s.block.URL(service))
		return missing == "", nil
	})
	if err != nil {
		started.Stop(context.Background())
		return nil, fmt.Errorf("%s is not ready: %s: %w", name, missing, err)
	}
	return started, nil
}

// stop ends a process in good order and says what its memory came to.
func stop(p *process.Process) (bytes int64, err error) {
	bytes, err = peak(p.PID())
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err == nil {
		err = p.Wait()
	}
	return bytes, err
}

// videos adds videos that wait for both results, of a course of the lecturer's.
func (s *servers) videos(ctx context.Context, n int) ([]contract.VideoID, error) {
	rows, err := s.db.Query(ctx, `
		with v as (
			insert into public.videos (course_id, title, description, camera_video_url)
			select $1::uuid, 'Video ' || n, 'What a video is about.', 'https://cdn.example.org/raw/' || n || '.mp4' from generate_series(1, $2::int) n
			returning id, course_id
		)
		insert into pipeline.videos (video_id, course_id, transcription_state, compression_state)
		select id, course_id, 'waiting', 'waiting' from v returning video_id::text`, seed.Courses[0].ID, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[contract.VideoID])
}

// transcribed counts those that have their transcript.
func (s *servers) transcribed(ctx context.Context, ids []contract.VideoID) (n int, err error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	err = s.db.QueryRow(ctx, `select count(*) from pipeline.videos p join public.videos v on v.id = p.video_id
		where p.video_id = any($1::uuid[]) and transcription_state = 'done' and transcript_url like '%' || v.id || '.json'`, texts).Scan(&n)
	return n, err
}

// missingEnvironment says what of the environment is not there.
func missingEnvironment() error {
	for _, name := range []string{"VIDFLOW_TEST_POSTGRES_URL", "VIDFLOW_TEST_STORAGE_CONTROL", "DATABASE_URL", "KAFKA_BROKERS", "TEMPORAL_ADDRESS"} {
		if strings.TrimSpace(os.Getenv(name)) == "" {
			return fmt.Errorf("%s is not set: worker and starter are measured on the servers of `bin/devstack exec` (make strain)", name)
		}
	}
	return nil
}
