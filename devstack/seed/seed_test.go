package seed

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"github.com/codeendelea/vidflow/internal/postgres/postgrestest"
)

func TestApply_can_be_repeated(t *testing.T) {
	t.Parallel()
	db := postgrestest.New(t)
	conn, err := pgx.Connect(t.Context(), db.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	for range 2 {
		if err := Apply(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
	}
	var owner string
	err = conn.QueryRow(t.Context(), `select l.user_id::text from courses c join lecturers l on l.id = c.lecturer_id where c.id = $1`,
		Courses[0].ID).Scan(&owner)
	if err != nil || owner != Lecturer.ID {
		t.Errorf("the course belongs to %q (%v), want the lecturer %s", owner, err, Lecturer.ID)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	token, err := Token("secret", Admin, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	parse := func(secret string) (jwt.MapClaims, error) {
		claims := jwt.MapClaims{}
		_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return []byte(secret), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("codeendelea-lms"), jwt.WithAudience("codeendelea-lms-api"),
			jwt.WithExpirationRequired())
		return claims, err
	}
	claims, err := parse("secret")
	if err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != Admin.ID || claims["role"] != "admin" || claims["email"] != Admin.Email {
		t.Errorf("claims are %v", claims)
	}
	if _, err := parse("another"); err == nil {
		t.Error("another secret verifies it")
	}
}
