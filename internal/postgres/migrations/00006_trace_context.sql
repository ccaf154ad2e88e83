-- The trace that an intent was committed in, as W3C's traceparent, so that whoever carries it out goes on in it, also
-- another process and after a restart. Null when nothing was traced.

-- +goose Up

set local lock_timeout = '1s';
alter table pipeline.intents add column traceparent text;
