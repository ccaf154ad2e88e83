package starter

import (
	"context"
	"maps"
	"slices"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

// look compares all that is listened to, or the newcomers alone, with the database: what is another than its listeners
// know is read again, and who may no longer listen is not told any more.
func (e *Events) look(ctx context.Context, all bool) error {
	e.mu.Lock()
	e.newcomer = false
	if all {
		e.lookDue = false
	}
	var videos []contract.VideoID
	courses := map[string]bool{}
	for id := range e.videos {
		if all {
			videos = append(videos, id)
		}
	}
	for id, t := range e.courses {
		if all || t.known == nil {
			courses[id] = true
		}
	}
	e.mu.Unlock()
	if len(videos)+len(courses) == 0 {
		return nil
	}
	seen, err := e.store.Look(ctx, videos, slices.Sorted(maps.Keys(courses)))
	if err == nil {
		e.compare(videos, courses, seen)
		if all {
			err = e.recheck(ctx)
		}
	}
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.newcomer, e.lookDue = true, e.lookDue || all
	}
	return err
}

func (e *Events) compare(videos []contract.VideoID, courses map[string]bool, seen []postgres.Seen) {
	there := make(map[contract.VideoID]postgres.Seen, len(seen))
	for _, s := range seen {
		there[s.VideoID] = s
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range videos {
		t := e.videos[id]
		if t == nil {
			continue
		}
		if s, ok := there[id]; ok {
			t.course = s.CourseID
		}
		if t.latest != nil && !t.latest.gone && there[id].Mark != t.known[id] {
			e.dirty[id] = struct{}{}
		}
	}
	for course := range courses {
		t := e.courses[course]
		if t == nil {
			continue
		}
		for id := range t.known {
			if there[id].CourseID != course {
				e.dirty[id] = struct{}{}
			}
		}
	}
	fresh := map[string]*topic{}
	for course := range courses {
		if t := e.courses[course]; t != nil && t.known == nil {
			fresh[course], t.known = t, map[contract.VideoID]postgres.Mark{}
			close(t.ready)
		}
	}
	for _, s := range seen {
		t := e.courses[s.CourseID]
		switch {
		case t == nil || !courses[s.CourseID]:
		case fresh[s.CourseID] != nil:
			t.known[s.VideoID] = s.Mark
		case t.known[s.VideoID] != s.Mark:
			e.dirty[s.VideoID] = struct{}{}
		}
	}
}

// recheck ends the streams of those who may no longer listen.
func (e *Events) recheck(ctx context.Context) error {
	e.mu.Lock()
	courses, users := map[string]bool{}, map[string]bool{}
	e.each(func(l *listener, t *topic) {
		if t.course != "" {
			courses[t.course] = true
		}
		if l.asked {
			users[l.caller.UserID] = true
		}
	})
	e.mu.Unlock()
	owners, err := e.store.Owners(ctx, slices.Sorted(maps.Keys(courses)))
	if err != nil {
		return err
	}
	var roles map[string]string
	if len(users) > 0 {
		if roles, err = e.store.Roles(ctx, slices.Sorted(maps.Keys(users))); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.each(func(l *listener, t *topic) {
		if !courses[t.course] {
			return // not looked for
		}
		caller := l.caller
		if l.asked && users[caller.UserID] {
			caller.Role = Role(roles[caller.UserID])
		}
		owner, exists := owners[t.course]
		switch {
		case exists && !caller.mayManage(postgres.Course{ID: t.course, OwnerID: owner}):
			l.end()
		case !exists && l.course != "" && len(t.known) == 0 && len(l.pending) == 0:
			l.end() // the end of the course, after that of its videos
		}
	})
	return nil
}

func (e *Events) each(do func(*listener, *topic)) {
	for _, t := range e.videos {
		for l := range t.listeners {
			do(l, t)
		}
	}
	for _, t := range e.courses {
		for l := range t.listeners {
			do(l, t)
		}
	}
}
