-- What became dead letters, for the API to say that a video has some. The letters themselves are in Kafka; a line is made
-- from each, and dropping the table loses nothing but that.

-- +goose Up

create table pipeline.dead_letters (
    origin        pipeline.position not null, -- of the record that could not be understood
    topic         text not null, -- of the record
    track         text not null check (track in ('transcription', 'compression')),
    video_id      uuid, -- null when the record does not tell; of a video that may not be known here
    class         text not null,
    reason        text not null,
    without_value boolean not null, -- the letter does not have it, and cannot be sent back
    letter        text not null, -- where the latest letter of this origin is: partition/offset in the dead-letter topic
    died_at       timestamptz not null, -- when that was written
    redriven_at   timestamptz -- when that was sent back; null when it was not
);
create unique index dead_letters_origin_idx
    on pipeline.dead_letters (((origin).topic_id), ((origin).partition), ((origin)."offset"));
create index dead_letters_video_id_idx on pipeline.dead_letters (video_id, died_at desc);
create index dead_letters_died_at_idx on pipeline.dead_letters (died_at);
