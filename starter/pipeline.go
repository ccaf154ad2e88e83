package starter

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/codeendelea/vidflow/internal/postgres"
)

type videoInput struct {
	VideoID videoIDParam `path:"videoId"`
}

type videoOutput struct {
	Body VideoAnswer
}

// pipeline answers from the database, whatever else is down.
func (s *Starter) pipeline(ctx context.Context, in *videoInput) (*videoOutput, error) {
	id := in.VideoID.id
	if err := s.ownVideo(ctx, callerOf(ctx), id); err != nil {
		return nil, err
	}
	v, err := s.video(ctx, id)
	if err != nil {
		return nil, err
	}
	return &videoOutput{Body: VideoAnswer{Success: true, Data: viewVideo(v)}}, nil
}

type courseInput struct {
	CourseID courseIDParam    `path:"courseId"`
	State    []postgres.State `query:"state" enum:"failed,overdue,working,done,untracked" doc:"Only videos in one of these states, separated by commas."`
	Cursor   cursorParam      `query:"cursor" doc:"The next_cursor of the page before."`
	Limit    int              `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many videos a page has at most."`
}

type courseOutput struct {
	Link string `header:"Link" doc:"The next page, as rel=\"next\" (RFC 8288)."`
	Body CourseAnswer
}

// coursePipeline lists the videos of a course, newest first.
func (s *Starter) coursePipeline(ctx context.Context, in *courseInput) (*courseOutput, error) {
	course := in.CourseID.id
	if err := s.ownCourse(ctx, callerOf(ctx), course); err != nil {
		return nil, err
	}
	videos, next, err := s.store.CourseVideos(ctx, postgres.ListQuery{
		CourseID: course, States: in.State, After: in.Cursor.place, Limit: in.Limit,
	})
	if err != nil {
		return nil, storeProblem(err)
	}
	out := &courseOutput{Body: CourseAnswer{Success: true, Data: make([]VideoView, len(videos))}}
	for i, v := range videos {
		out.Body.Data[i] = viewVideo(v)
	}
	if next != nil {
		cursor := cursorParam{place: next}.String()
		out.Body.NextCursor = &cursor
		query := url.Values{"cursor": {cursor}, "limit": {strconv.Itoa(in.Limit)}}
		if len(in.State) > 0 {
			query.Set("state", joinStates(in.State))
		}
		out.Link = fmt.Sprintf(`</api/courses/%s/pipeline?%s>; rel="next"`, course, query.Encode())
	}
	return out, nil
}

func joinStates(states []postgres.State) string {
	words := make([]string, len(states))
	for i, st := range states {
		words[i] = string(st)
	}
	return strings.Join(words, ",")
}
