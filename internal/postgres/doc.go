// Package postgres holds everything that vidflow asks of the database: the migrations of the schema "pipeline", the
// least-privilege role, the check at start-up, and one Store with all queries. Nothing else in the project speaks SQL.
//
// Four rules hold for every query:
//
//   - It works behind a transaction pooler: no prepared statements, no session state, no advisory lock of a session.
//   - It may be repeated after an unknown outcome (a cut connection, a time-out) without doing its effect twice.
//   - What changes the state of a video locks its row in pipeline.videos first and decides then, in a statement of its
//     own. Under READ COMMITTED each statement sees what was committed before it began, so the decision is made on
//     what the previous holder of the lock left; a single statement would decide on what was there before it waited.
//   - State never moves backwards: conditions are part of the statement that changes it.
//
// Times are the server's, never the client's.
package postgres
