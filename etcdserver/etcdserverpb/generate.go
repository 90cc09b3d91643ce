// Package etcdserverpb holds the formats of a member: raft entries, records of
// the write-ahead log, and the head of a snapshot.
package etcdserverpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-vtproto_out=. --go-vtproto_opt=paths=source_relative,features=marshal+unmarshal+unmarshal_unsafe+size member.proto
