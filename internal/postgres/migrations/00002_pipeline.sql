-- What vidflow remembers of its own. Nothing outside this schema refers to it, so that dropping it leaves the API
-- server whole, and nothing in it refers to the API server's tables, so that rows there can go as they please.

-- +goose Up

-- Where a result came from; contract.Position.
create type pipeline.position as (topic_id uuid, partition int, "offset" bigint, at timestamptz);

-- contract.Position.Newer: within one topic id and partition the offset says, else the time, then topic id and
-- partition; anything is newer than nothing.
-- +goose StatementBegin
create function pipeline.newer(a pipeline.position, b pipeline.position) returns boolean language sql immutable as $$
    select case
        when b is null then true
        when a.topic_id = b.topic_id and a.partition = b.partition then a."offset" > b."offset"
        else (a.at, a.topic_id, a.partition) > (b.at, b.topic_id, b.partition)
    end
$$;
-- +goose StatementEnd

-- contract.Position.Same: the same record, whatever the times; never the same as nothing.
-- +goose StatementBegin
create function pipeline.same(a pipeline.position, b pipeline.position) returns boolean language sql immutable as $$
    select coalesce(a.topic_id = b.topic_id and a.partition = b.partition and a."offset" = b."offset", false)
$$;
-- +goose StatementEnd

-- One row for each video that is known here, deleted ones included.
create table pipeline.videos (
    video_id               uuid primary key,
    course_id              uuid,
    user_id                text, -- who created the video here; null for one created elsewhere

    transcription_state    text not null check (transcription_state in ('untracked', 'waiting', 'done', 'given_up')),
    asks                   int not null default 0 check (asks >= 0), -- recorded as published
    asked_at               timestamptz, -- when the last ask was recorded; null when one is due now
    ask_limit              int, -- null: the configured one
    prepared_ask           int, -- the ask that may have been published and is not yet recorded,
    prepared_request       bytea, -- and its bytes, so that a repeat is the same to the byte
    transcript_position    pipeline.position,
    transcript_duration    double precision, -- seconds
    transcript_language    text,
    transcript_words       int,
    transcribed_at         timestamptz,
    transcription_error    text,
    transcription_error_at timestamptz,

    compression_state      text not null check (compression_state in ('untracked', 'waiting', 'overdue', 'done', 'given_up')),
    compression_since      timestamptz not null default now(), -- when the waiting began
    compression_position   pipeline.position,
    compressed_at          timestamptz,
    compression_error      text,
    compression_error_at   timestamptz,

    revision               bigint not null default 1,
    created_at             timestamptz not null default now(),
    updated_at             timestamptz not null default now(),
    deleted_at             timestamptz -- set: a tombstone, for ever
);

-- +goose StatementBegin
create function pipeline.touch() returns trigger language plpgsql as $$
begin
    new.revision := old.revision + 1;
    new.updated_at := clock_timestamp();
    return new;
end
$$;
-- +goose StatementEnd

create trigger touch before update on pipeline.videos
    for each row when (old is distinct from new) execute function pipeline.touch();

-- How far both tracks are together; postgres.StateOf says the same.
-- +goose StatementBegin
create function pipeline.overall(transcription text, compression text) returns text language sql immutable as $$
    select case
        when 'given_up' in (transcription, compression) then 'failed'
        when 'overdue' in (transcription, compression) then 'overdue'
        when 'waiting' in (transcription, compression) then 'working'
        when 'done' in (transcription, compression) then 'done'
        else 'untracked'
    end
$$;
-- +goose StatementEnd

-- Attempts that are storing a transcript; see claims.go.
create table pipeline.claims (
    token    uuid primary key, -- of one attempt
    video_id uuid not null references pipeline.videos (video_id) on delete cascade,
    position pipeline.position not null,
    until    timestamptz not null
);
create index claims_video_id_idx on pipeline.claims (video_id);
create index claims_until_idx on pipeline.claims (until);

-- What was committed together with a video's row and has yet to be done: start its run, or clean up after it.
create table pipeline.intents (
    video_id   uuid not null references pipeline.videos (video_id) on delete cascade,
    kind       text not null check (kind in ('run', 'cleanup')),
    created_at timestamptz not null default now(),
    next_at    timestamptz not null default now(), -- when it is due, or until when somebody has it in hand
    attempts   int not null default 0,
    last_error text,
    primary key (video_id, kind)
);
create index intents_next_at_idx on pipeline.intents (next_at);

create table pipeline.idempotency_keys (
    user_id    text not null,
    key        text not null,
    body_hash  bytea not null,
    video_id   uuid not null,
    created_at timestamptz not null default now(),
    primary key (user_id, key)
);
create index idempotency_keys_created_at_idx on pipeline.idempotency_keys (created_at);
