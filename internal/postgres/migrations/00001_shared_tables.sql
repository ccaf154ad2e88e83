-- The tables that the API server owns, for development and tests. Where a table exists, as in production, it is left
-- as it is; row-level security and policies come with the tables alone.

-- +goose Up
-- +goose StatementBegin
do $$
begin
    if to_regclass('public.users') is not null and to_regclass('public.lecturers') is not null
        and to_regclass('public.courses') is not null and to_regclass('public.videos') is not null then
        return;
    end if;

    -- Supabase has it; it reads the id of the user from the token that the request came with.
    if to_regprocedure('auth.uid()') is null then
        create schema if not exists auth;
        create function auth.uid() returns uuid language sql stable as
            $fn$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $fn$;
    end if;

    if to_regclass('public.users') is null then
        create table public.users (
            id         uuid primary key default gen_random_uuid(),
            email      text not null unique,
            role       text not null default 'student' check (role in ('student', 'lecturer', 'admin')),
            created_at timestamptz not null default now()
        );
        alter table public.users enable row level security;
        create policy "users see themselves" on public.users for select using (id = auth.uid());
    end if;

    if to_regclass('public.lecturers') is null then
        create table public.lecturers (
            id      uuid primary key default gen_random_uuid(),
            user_id uuid not null unique references public.users (id) on delete cascade
        );
        alter table public.lecturers enable row level security;
        create policy "lecturers see themselves" on public.lecturers for select using (user_id = auth.uid());
    end if;

    if to_regclass('public.courses') is null then
        create table public.courses (
            id          uuid primary key default gen_random_uuid(),
            lecturer_id uuid references public.lecturers (id) on delete set null,
            title       text not null default '',
            created_at  timestamptz not null default now()
        );
        alter table public.courses enable row level security;
        create policy "lecturers manage their courses" on public.courses for all
            using (exists (select from public.lecturers l where l.id = lecturer_id and l.user_id = auth.uid()))
            with check (exists (select from public.lecturers l where l.id = lecturer_id and l.user_id = auth.uid()));
    end if;

    if to_regclass('public.videos') is null then
        create table public.videos (
            id               uuid primary key default gen_random_uuid(),
            course_id        uuid not null references public.courses (id) on delete cascade,
            title            text not null,
            description      text not null,
            thumbnail_url    text,
            camera_video_url text not null,
            snapshot_url     text,
            event_url        text,
            transcript_url   text,
            level            text not null default 'beginner' check (level in ('beginner', 'intermediate', 'advanced')),
            ispublic         boolean not null default false,
            created_at       timestamptz not null default now()
        );
        create index videos_course_id_created_at_idx on public.videos (course_id, created_at desc, id desc);
        alter table public.videos enable row level security;
        create policy "anyone reads public videos" on public.videos for select using (ispublic);
        create policy "lecturers manage the videos of their courses" on public.videos for all
            using (exists (
                select from public.courses c join public.lecturers l on l.id = c.lecturer_id
                where c.id = course_id and l.user_id = auth.uid()))
            with check (exists (
                select from public.courses c join public.lecturers l on l.id = c.lecturer_id
                where c.id = course_id and l.user_id = auth.uid()));
    end if;
end
$$;
-- +goose StatementEnd
