-- The role that the three processes of vidflow log in as. It needs neither superuser nor BYPASSRLS: row-level security
-- stays on, and policies for this role alone let it see and change every row of the four tables it works with.
--
-- Run this as the owner of the tables (on Supabase: postgres), after `vidflow migrate`, and again after each later
-- migration. It may be run any number of times. Put a password of your own in the place of change-me; everybody else's
-- policies are left as they are.

begin;

do $$
begin
    if not exists (select from pg_roles where rolname = 'vidflow') then
        create role "vidflow" login;
    end if;
end
$$;
alter role "vidflow" login password 'change-me';

-- A lock that hangs is an error and not a process that waits for ever. These hold behind a pooler too.
alter role "vidflow" set statement_timeout = '15s';
alter role "vidflow" set lock_timeout = '5s';
alter role "vidflow" set idle_in_transaction_session_timeout = '15s';

-- The API server's tables: read what decides who may do what, add and remove videos, set the two addresses.
grant usage on schema public to "vidflow";
grant select on public.users, public.courses, public.lecturers to "vidflow";
grant select, insert, delete on public.videos to "vidflow";
grant update (transcript_url, camera_video_url) on public.videos to "vidflow";

-- Without these, the policies by auth.uid() would hide rows, and a video that is hidden looks like one that is deleted.
drop policy if exists "vidflow reads users" on public.users;
create policy "vidflow reads users" on public.users for select to "vidflow" using (true);
drop policy if exists "vidflow reads courses" on public.courses;
create policy "vidflow reads courses" on public.courses for select to "vidflow" using (true);
drop policy if exists "vidflow reads lecturers" on public.lecturers;
create policy "vidflow reads lecturers" on public.lecturers for select to "vidflow" using (true);
drop policy if exists "vidflow manages videos" on public.videos;
create policy "vidflow manages videos" on public.videos for all to "vidflow" using (true) with check (true);

-- What is vidflow's own.
grant usage on schema pipeline to "vidflow";
grant select, insert, update, delete on all tables in schema pipeline to "vidflow";
grant execute on all functions in schema pipeline to "vidflow";
alter default privileges in schema pipeline grant select, insert, update, delete on tables to "vidflow";
alter default privileges in schema pipeline grant execute on functions to "vidflow";

commit;
