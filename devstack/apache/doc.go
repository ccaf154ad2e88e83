// Package apache runs the real Apache Kafka as a child process of the stack: one node, broker and KRaft controller in
// one, on the loopback interface, with TLS, logins and permissions. Its jars come from Maven Central, once, into a cache
// outside of the repository.
//
// The development stack itself uses the embedded broker of package kafka, which is up in no time. This one is for
// finding out what only the real one does.
package apache
