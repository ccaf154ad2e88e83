-- Tables and commands for which row-level security hides rows from the login: it is active (not for superusers, roles
-- with BYPASSRLS and owners without FORCE), and either no permissive policy that applies to the login lets everything
-- through, or a restrictive one that applies does not.
with needed (relation, command, label) as (
    values ('users', 'r', 'select'), ('lecturers', 'r', 'select'), ('courses', 'r', 'select'),
        ('videos', 'r', 'select'), ('videos', 'a', 'insert'), ('videos', 'w', 'update'), ('videos', 'd', 'delete')
), policies as (
    select c.oid, needed.relation, needed.command, needed.label, p.polpermissive as permissive,
        p.polname is not null
            and (needed.command = 'a' or coalesce(pg_get_expr(p.polqual, p.polrelid), 'true') = 'true')
            and (needed.command not in ('a', 'w') or coalesce(
                pg_get_expr(p.polwithcheck, p.polrelid), pg_get_expr(p.polqual, p.polrelid), 'true') = 'true') as all_rows
    from needed
    join pg_class c on c.oid = to_regclass('public.' || needed.relation)
    left join pg_policy p on p.polrelid = c.oid and p.polcmd in ('*', needed.command)
        and exists (select from unnest(p.polroles) r where r = 0 or pg_has_role(current_user, r, 'USAGE'))
    where row_security_active(c.oid)
), filtered as (
    select relation, label from policies
    group by relation, command, label
    having not coalesce(bool_or(permissive and all_rows), false)
        or not coalesce(bool_and(all_rows) filter (where not permissive), true)
)
select 'public.' || relation, string_agg(label, ', ' order by label) from filtered group by relation order by relation
