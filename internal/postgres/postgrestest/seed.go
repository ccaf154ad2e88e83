package postgrestest

import (
	"testing"

	"github.com/google/uuid"

	"github.com/codeendelea/vidflow/internal/contract"
)

// User adds a user with a role (student, lecturer or admin) and answers with the id.
func (db *DB) User(t testing.TB, role string) string {
	t.Helper()
	id := uuid.NewString()
	db.Exec(t, `insert into public.users (id, email, role) values ($1, $2, $3)`, id, id+"@example.org", role)
	return id
}

// Course adds a course with a lecturer of its own and answers with both ids; the lecturer's is that of the user.
func (db *DB) Course(t testing.TB) (courseID, userID string) {
	t.Helper()
	userID = db.User(t, "lecturer")
	return db.CourseOf(t, userID), userID
}

// CourseOf adds a course for a user, who becomes a lecturer if need be.
func (db *DB) CourseOf(t testing.TB, userID string) (courseID string) {
	t.Helper()
	courseID = uuid.NewString()
	db.Exec(t, `insert into public.lecturers (user_id) values ($1) on conflict (user_id) do nothing`, userID)
	db.Exec(t, `
		insert into public.courses (id, lecturer_id, title)
		select $1, id, 'A course' from public.lecturers where user_id = $2`, courseID, userID)
	return courseID
}

// Video adds a row to a course as the old server does, behind the pipeline's back, not public. An empty course is one
// made for it.
func (db *DB) Video(t testing.TB, courseID string) contract.VideoID {
	t.Helper()
	if courseID == "" {
		courseID, _ = db.Course(t)
	}
	id := NewVideoID()
	db.Exec(t, `
		insert into public.videos (id, course_id, title, description, camera_video_url, level)
		values ($1, $2, 'A video', 'A video of a test', 'https://example.org/raw.mp4', 'beginner')`, string(id), courseID)
	return id
}

// NewVideoID is the id of a video that is nowhere yet.
func NewVideoID() contract.VideoID { return contract.VideoID(uuid.NewString()) }

// RemoveVideo removes the row as the old server does, behind the pipeline's back.
func (db *DB) RemoveVideo(t testing.TB, id contract.VideoID) {
	t.Helper()
	db.Exec(t, `delete from public.videos where id = $1`, string(id))
}

// TranscriptURL and CameraVideoURL are what the row says.
func (db *DB) TranscriptURL(t testing.TB, id contract.VideoID) string {
	t.Helper()
	return db.text(t, `select coalesce(transcript_url, '') from public.videos where id = $1`, id)
}

// CameraVideoURL is what the row says.
func (db *DB) CameraVideoURL(t testing.TB, id contract.VideoID) string {
	t.Helper()
	return db.text(t, `select camera_video_url from public.videos where id = $1`, id)
}

func (db *DB) text(t testing.TB, sql string, id contract.VideoID) (s string) {
	t.Helper()
	if err := db.Admin.QueryRow(t.Context(), sql, string(id)).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}
