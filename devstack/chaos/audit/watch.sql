-- What the audit remembers: every row of a video that was made or removed, every change of the two addresses, every
-- move of a position, with the transaction it was made in. The functions are the superuser's, so the pipeline's role
-- needs to know nothing of this.
create schema audit;

create table audit.events (
    seq         bigint generated always as identity primary key,
    tx          xid8 not null default pg_current_xact_id(),
    at          timestamptz not null default clock_timestamp(),
    video_id    uuid not null,
    kind        text not null, -- insert, delete, column or position
    track       text,
    value       text, -- of the column; the title of an insert
    topic_id    uuid,
    partition   int,
    "offset"    bigint,
    recorded_at timestamptz
);

create function audit.made() returns trigger language plpgsql security definer set search_path = audit as $$
begin
    insert into audit.events (video_id, kind, value) values (new.id, 'insert', new.title);
    return null;
end
$$;

create function audit.removed() returns trigger language plpgsql security definer set search_path = audit as $$
begin
    insert into audit.events (video_id, kind) values (old.id, 'delete');
    return null;
end
$$;

create function audit.addressed() returns trigger language plpgsql security definer set search_path = audit as $$
begin
    insert into audit.events (video_id, kind, track, value)
    values (new.id, 'column', tg_argv[0],
        case tg_argv[0] when 'transcription' then new.transcript_url else new.camera_video_url end);
    return null;
end
$$;

create function audit.moved() returns trigger language plpgsql security definer set search_path = audit as $$
begin
    if new.transcript_position is distinct from old.transcript_position then
        insert into audit.events (video_id, kind, track, topic_id, partition, "offset", recorded_at)
        values (new.video_id, 'position', 'transcription', (new.transcript_position).topic_id,
            (new.transcript_position).partition, (new.transcript_position)."offset", (new.transcript_position).at);
    end if;
    if new.compression_position is distinct from old.compression_position then
        insert into audit.events (video_id, kind, track, topic_id, partition, "offset", recorded_at)
        values (new.video_id, 'position', 'compression', (new.compression_position).topic_id,
            (new.compression_position).partition, (new.compression_position)."offset", (new.compression_position).at);
    end if;
    return null;
end
$$;

create trigger audit_made after insert on public.videos for each row execute function audit.made();
create trigger audit_removed after delete on public.videos for each row execute function audit.removed();
-- "update of" fires for every statement that sets the column, also to the value that it has.
create trigger audit_transcript after update of transcript_url on public.videos
    for each row execute function audit.addressed('transcription');
create trigger audit_camera after update of camera_video_url on public.videos
    for each row execute function audit.addressed('compression');
create trigger audit_moved after update on pipeline.videos for each row execute function audit.moved();
