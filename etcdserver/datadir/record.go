package datadir

import (
	"fmt"

	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/wal"
)

// Kinds of records in the write-ahead log. The numbers are frozen.
const (
	EntryRecord     wal.Kind = 1 // pb.Entry
	HardStateRecord wal.Kind = 2 // pb.HardState
	SnapshotRecord  wal.Kind = 3 // pb.SnapshotMark
)

// begin writes the first records of a log, the hard state last: a torn batch never
// leaves a commit index beyond the log.
func begin(log *wal.Log, entries []raft.Entry, h raft.HardState) error {
	var records []wal.Record
	add := func(kind wal.Kind, index raft.Index, m interface{ MarshalVT() ([]byte, error) }) error {
		payload, err := m.MarshalVT()
		if err != nil {
			return fmt.Errorf("encode a record: %w", err)
		}
		records = append(records, wal.Record{Kind: kind, Index: uint64(index), Payload: payload})
		return nil
	}
	for _, e := range entries {
		if err := add(EntryRecord, e.Index, &pb.Entry{Term: uint64(e.Term), Type: uint32(e.Type), Data: e.Data}); err != nil {
			return err
		}
	}
	if err := add(HardStateRecord, 0, &pb.HardState{Term: uint64(h.Term), Vote: uint64(h.Vote), Commit: uint64(h.Commit)}); err != nil {
		return err
	}
	if err := log.Append(records...); err != nil {
		return err
	}
	return log.Sync()
}
