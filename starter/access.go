package starter

import (
	"context"
	"errors"
	"net/http"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

// ownCourse lets an admin through to every course and a lecturer to their own. Nil when the caller may act on it.
func (s *Starter) ownCourse(ctx context.Context, caller Caller, courseID string) error {
	course, err := s.store.Course(ctx, courseID)
	switch {
	case errors.Is(err, postgres.ErrNoCourse):
		return noCourse()
	case err != nil:
		return storeProblem(err)
	case !caller.mayManage(course):
		return forbidden("not_your_course", "This course is not yours.")
	}
	return nil
}

// ownVideo lets an admin through to every video and a lecturer to those of their own courses.
func (s *Starter) ownVideo(ctx context.Context, caller Caller, id contract.VideoID) error {
	course, err := s.store.Owner(ctx, id)
	switch {
	case errors.Is(err, postgres.ErrNoVideo):
		return noVideo()
	case err != nil:
		return storeProblem(err)
	case !caller.mayManage(course):
		return forbidden("not_your_video", "This video is not in a course of yours.")
	}
	return nil
}

// video reads a video that the caller may manage.
func (s *Starter) video(ctx context.Context, id contract.VideoID) (postgres.Loaded, error) {
	v, err := s.store.Video(ctx, id)
	switch {
	case err != nil:
		return v, storeProblem(err)
	case v.Gone():
		return v, noVideo()
	}
	return v, nil
}

// mayManage reports whether a course, and the videos in it, are the caller's to read and write. A course without a
// lecturer is only an admin's.
func (c Caller) mayManage(course postgres.Course) bool {
	return c.Role == Admin || (c.Role == Lecturer && course.OwnerID != "" && course.OwnerID == c.UserID)
}

func noCourse() *Problem {
	return problem(http.StatusNotFound, "no_course", "There is no such course.")
}

func noVideo() *Problem { return problem(http.StatusNotFound, "no_video", "There is no such video.") }

// storeProblem answers 503 for a database that is away, busy or not yet set up, since the same request may succeed
// later, and 500 when it did not understand what we asked of it.
func storeProblem(err error) *Problem {
	var setup *postgres.SetupError
	var answered interface{ SQLState() string }
	switch {
	case errors.As(err, &setup):
		return unavailable("The database", err)
	case errors.Is(err, postgres.ErrText):
		return problem(http.StatusUnprocessableEntity, "validation_failed", "The request holds text that cannot be stored.").because(err)
	case errors.As(err, &answered) && len(answered.SQLState()) == 5:
		switch answered.SQLState()[:2] {
		case "08", "25", "40", "53", "55", "57", "58": // connection, read-only, conflict, resources, locks, shutdown, system
			return unavailable("The database", err)
		}
		return internalError(err)
	}
	return unavailable("The database", err)
}
