// Package wiretest makes messages and frames for tests. It does not use package wire, which its frames test.
package wiretest

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"

	"canopy/raft"
)

// RandomMessage gives a message of any kind, with any contents that raft could send.
func RandomMessage(rng *rand.Rand) raft.Message {
	number := func() uint64 { return rng.Uint64() >> rng.UintN(64) }
	term, index := raft.Term(number()), raft.Index(number())
	switch rng.IntN(15) {
	case 0:
		return raft.PreVote{Term: term, LastIndex: index, LastTerm: raft.Term(number())}
	case 1:
		return raft.PreVoteReply{Term: term, Granted: rng.IntN(2) == 0}
	case 2:
		return raft.Vote{Term: term, LastIndex: index, LastTerm: raft.Term(number()), Transfer: rng.IntN(2) == 0}
	case 3:
		return raft.VoteReply{Term: term, Granted: rng.IntN(2) == 0}
	case 4:
		return raft.AppendReply{Term: term, Match: index}
	case 5:
		return raft.AppendReject{Term: term, PrevIndex: index, HintIndex: raft.Index(number()), HintTerm: raft.Term(number())}
	case 6:
		return raft.Heartbeat{Term: term, Commit: index, Round: number()}
	case 7:
		return raft.HeartbeatReply{Term: term, Round: number(), Match: index, Received: raft.Index(number())}
	case 8:
		return raft.Commit{Term: term, Index: index}
	case 9:
		c := raft.Configuration{Voters: randomIDs(rng), Learners: randomIDs(rng)}
		return raft.Snapshot{Term: term, Meta: raft.SnapshotMeta{Index: index, Term: raft.Term(number()), Configuration: c}}
	case 10:
		return raft.ReadForward{Term: term, Batch: number()}
	case 11:
		return raft.ReadReply{Term: term, Batch: number(), Index: index}
	case 12:
		return raft.TimeoutNow{Term: term}
	case 13:
		return raft.Stale{Term: term}
	}
	return RandomAppend(rng, term, index, rng.IntN(30), 200)
}

func randomIDs(rng *rand.Rand) []raft.MemberID {
	var ids []raft.MemberID
	for range rng.IntN(4) {
		ids = append(ids, raft.MemberID(rng.Uint64()))
	}
	return ids
}

// RandomAppend gives an append with so many entries of random lengths.
func RandomAppend(rng *rand.Rand, term raft.Term, prev raft.Index, count, bytesMax int) raft.Append {
	m := raft.Append{Term: term, PrevIndex: prev, PrevTerm: raft.Term(rng.Uint64N(100)), Commit: raft.Index(rng.Uint64())}
	at := raft.Term(rng.Uint64N(100))
	for i := range count {
		if rng.IntN(5) == 0 {
			at += raft.Term(rng.Uint64N(3))
		}
		e := raft.Entry{Index: prev + raft.Index(i) + 1, Term: at}
		if rng.IntN(4) == 0 {
			e.Type = raft.EntryConfChange
		}
		if n := rng.IntN(bytesMax + 1); n > 0 {
			e.Data = make([]byte, n)
			for i := range e.Data {
				e.Data[i] = byte(rng.Uint32())
			}
		}
		m.Entries = append(m.Entries, e)
	}
	return m
}

// Frame is a frame with a correct checksum and any contents.
func Frame(kind byte, payload []byte) []byte {
	length := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	body := append([]byte{kind}, payload...)
	sum := crc32.Checksum(append(length[:len(length):len(length)], body...), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.LittleEndian.AppendUint32(length, sum), body...)
}
