-- Each change of a row in pipeline.videos is announced to whoever listens, and can be found by its time by who cannot
-- listen. Each statement may be run again: one that was broken off leaves nothing that is in the way.

-- +goose NO TRANSACTION
-- +goose Up

-- The payload is "video revision course"; the course is empty where none is known.
-- +goose StatementBegin
create or replace function pipeline.announce() returns trigger language plpgsql as $$
begin
    perform pg_notify('vidflow_videos', new.video_id || ' ' || new.revision || ' ' || coalesce(new.course_id::text, ''));
    return null;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$
begin
    set local lock_timeout = '1s';
    create or replace trigger announce_new after insert on pipeline.videos
        for each row execute function pipeline.announce();
    create or replace trigger announce_changed after update on pipeline.videos
        for each row when (old.revision <> new.revision) execute function pipeline.announce();
end
$$;
-- +goose StatementEnd

drop index concurrently if exists pipeline.videos_updated_at_idx;
create index concurrently videos_updated_at_idx on pipeline.videos (updated_at);
