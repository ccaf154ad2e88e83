// Package seed fills the shared tables of a new development database: users of each role, a lecturer and courses, under
// ids that are always the same.
package seed

import (
	"context"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
)

// User is a user of the development database.
type User struct{ ID, Email, Role string }

// The users: a lecturer who owns Courses, another one who owns none of them, a student and an admin.
var (
	Lecturer      = User{ID: "11111111-1111-4111-8111-111111111111", Email: "lecturer@example.test", Role: "lecturer"}
	OtherLecturer = User{ID: "22222222-2222-4222-8222-222222222222", Email: "other@example.test", Role: "lecturer"}
	Student       = User{ID: "33333333-3333-4333-8333-333333333333", Email: "student@example.test", Role: "student"}
	Admin         = User{ID: "44444444-4444-4444-8444-444444444444", Email: "admin@example.test", Role: "admin"}
)

// Course is a course of Lecturer.
type Course struct{ ID, Title string }

// Courses are Lecturer's; OtherCourse is OtherLecturer's.
var (
	Courses = []Course{
		{ID: "c0000000-0000-4000-8000-000000000001", Title: "Algorithms and Data Structures"},
		{ID: "c0000000-0000-4000-8000-000000000002", Title: "Operating Systems"},
	}
	OtherCourse = Course{ID: "c0000000-0000-4000-8000-000000000003", Title: "Linear Algebra"}
)

const (
	lecturerRow      = "aaaaaaaa-0000-4000-8000-000000000001"
	otherLecturerRow = "aaaaaaaa-0000-4000-8000-000000000002"
)

// Apply adds what is missing and changes nothing that is there. The tables must exist, and the login be one that
// row-level security lets pass.
func Apply(ctx context.Context, conn *pgx.Conn) error {
	batch := &pgx.Batch{}
	for _, u := range []User{Lecturer, OtherLecturer, Student, Admin} {
		batch.Queue("insert into public.users (id, email, role) values ($1, $2, $3) on conflict do nothing", u.ID, u.Email, u.Role)
	}
	for row, u := range map[string]User{lecturerRow: Lecturer, otherLecturerRow: OtherLecturer} {
		batch.Queue("insert into public.lecturers (id, user_id) values ($1, $2) on conflict do nothing", row, u.ID)
	}
	course := func(c Course, lecturer string) {
		batch.Queue("insert into public.courses (id, lecturer_id, title) values ($1, $2, $3) on conflict do nothing",
			c.ID, lecturer, c.Title)
	}
	for _, c := range Courses {
		course(c, lecturerRow)
	}
	course(OtherCourse, otherLecturerRow)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("seed the database: %w", err)
	}
	return nil
}

// Token is what the API server would give that user on login: it is good until now plus validity.
func Token(secret string, u User, now time.Time, validity time.Duration) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss":   "codeendelea-lms",
		"aud":   "codeendelea-lms-api",
		"sub":   u.ID,
		"email": u.Email,
		"role":  u.Role,
		"iat":   now.Unix(),
		"exp":   now.Add(validity).Unix(),
	}).SignedString([]byte(secret))
}
