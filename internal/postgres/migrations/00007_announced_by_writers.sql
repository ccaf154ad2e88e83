-- Who changes a row in pipeline.videos announces it, in a statement of its own after the commit: a transaction that
-- announces something makes every other that does wait until it is on disk. A program of before this version, which
-- relied on the triggers, works on; its changes are found by the listeners' own comparison, within half a minute.
-- contract: safe beside programs from version 7 on

-- +goose Up
set local lock_timeout = '1s';
drop trigger if exists announce_new on pipeline.videos;
drop trigger if exists announce_changed on pipeline.videos;
drop function if exists pipeline.announce();
