-- The videos that are not done, for what counts them: few of many. Made without blocking those who write meanwhile; what an
-- attempt that was cut off has left is made again.

-- +goose NO TRANSACTION
-- +goose Up
drop index concurrently if exists pipeline.videos_unfinished_idx;
create index concurrently videos_unfinished_idx on pipeline.videos (transcription_state, compression_state)
    where deleted_at is null and (transcription_state in ('waiting', 'given_up')
        or compression_state in ('waiting', 'overdue', 'given_up'));
