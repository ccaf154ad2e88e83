package postgres

import (
	_ "embed"
	"strings"
)

//go:embed role.sql
var roleSQL string

// RoleSQL is the SQL that makes the least-privilege role, with its name and password filled in, for people to read and
// run; devstack and the tests run it too. It may be run any number of times.
func RoleSQL(role, password string) string {
	name := strings.ReplaceAll(role, `"`, `""`)
	return strings.NewReplacer(
		`"vidflow"`, `"`+name+`"`,
		`"vidflow `, `"`+name+` `, // names of policies
		`'vidflow'`, quoteLiteral(role),
		`'change-me'`, quoteLiteral(password),
	).Replace(roleSQL)
}

func quoteLiteral(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }
