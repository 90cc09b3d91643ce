package wire

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"slices"

	"canopy/raft"
	pb "canopy/rafthttp/rafthttppb"
)

// An Encoder encodes messages as frames. It keeps memory for the next one.
type Encoder struct{ m pb.Message }

// Append appends the frame of a message; false: it cannot be sent.
func (e *Encoder) Append(b []byte, msg raft.Message) ([]byte, bool) {
	k := e.fill(msg)
	if k == 0 {
		return b, false
	}
	start, size := len(b), e.m.SizeVT()
	if k != KindAppend {
		b = e.marshal(beginFrame(b, k), size)
		return endFrame(b, start), size <= smallBytesMax
	}
	entries := msg.(raft.Append).Entries
	total := FrameHead + appendHead + size
	for i := range entries {
		total += len(entries[i].Data)
	}
	if len(entries) > entriesMax || size > appendHeadMax || total > FrameHead+appendBytesMax {
		return b, false
	}
	b = beginFrame(slices.Grow(b, total), k)
	b = e.marshal(binary.LittleEndian.AppendUint32(b, uint32(size)), size)
	for i := range entries {
		b = append(b, entries[i].Data...)
	}
	return endFrame(b, start), true
}

// marshal appends e.m, whose size is known.
func (e *Encoder) marshal(b []byte, size int) []byte {
	at := len(b)
	b = slices.Grow(b, size)[:at+size]
	if n, err := e.m.MarshalToSizedBufferVT(b[at:]); err != nil || n != size {
		panic("wire: a message is not as long as it said") // the generated code fails in no other way
	}
	return b
}

// fill sets e.m to the contents of a message, and gives its kind; 0: it is not a message.
func (e *Encoder) fill(msg raft.Message) Kind {
	clearMessage(&e.m)
	m := &e.m
	switch msg := msg.(type) {
	case raft.PreVote:
		m.Term, m.Index, m.LogTerm = uint64(msg.Term), uint64(msg.LastIndex), uint64(msg.LastTerm)
		return KindPreVote
	case raft.PreVoteReply:
		m.Term, m.Yes = uint64(msg.Term), msg.Granted
		return KindPreVoteReply
	case raft.Vote:
		m.Term, m.Index, m.LogTerm, m.Yes = uint64(msg.Term), uint64(msg.LastIndex), uint64(msg.LastTerm), msg.Transfer
		return KindVote
	case raft.VoteReply:
		m.Term, m.Yes = uint64(msg.Term), msg.Granted
		return KindVoteReply
	case raft.Append:
		m.Term, m.Index, m.LogTerm, m.Commit = uint64(msg.Term), uint64(msg.PrevIndex), uint64(msg.PrevTerm), uint64(msg.Commit)
		fillEntries(m, msg.Entries)
		return KindAppend
	case raft.AppendReply:
		m.Term, m.Match = uint64(msg.Term), uint64(msg.Match)
		return KindAppendReply
	case raft.AppendReject:
		m.Term, m.Index, m.Match, m.LogTerm = uint64(msg.Term), uint64(msg.PrevIndex), uint64(msg.HintIndex), uint64(msg.HintTerm)
		return KindAppendReject
	case raft.Heartbeat:
		m.Term, m.Commit, m.Round = uint64(msg.Term), uint64(msg.Commit), msg.Round
		return KindHeartbeat
	case raft.HeartbeatReply:
		m.Term, m.Round, m.Match, m.Index = uint64(msg.Term), msg.Round, uint64(msg.Match), uint64(msg.Received)
		return KindHeartbeatReply
	case raft.Commit:
		m.Term, m.Index = uint64(msg.Term), uint64(msg.Index)
		return KindCommit
	case raft.Snapshot:
		m.Term, m.Index, m.LogTerm = uint64(msg.Term), uint64(msg.Meta.Index), uint64(msg.Meta.Term)
		m.Voters = appendIDs(m.Voters, msg.Meta.Configuration.Voters)
		m.Learners = appendIDs(m.Learners, msg.Meta.Configuration.Learners)
		return KindSnapshot
	case raft.ReadForward:
		m.Term, m.Round = uint64(msg.Term), msg.Batch
		return KindReadForward
	case raft.ReadReply:
		m.Term, m.Round, m.Index = uint64(msg.Term), msg.Batch, uint64(msg.Index)
		return KindReadReply
	case raft.TimeoutNow:
		m.Term = uint64(msg.Term)
		return KindTimeoutNow
	case raft.Stale:
		m.Term = uint64(msg.Term)
		return KindStale
	}
	return 0
}

// fillEntries encodes entries. Their indexes follow from the previous one; terms and types are in runs.
func fillEntries(m *pb.Message, entries []raft.Entry) {
	for i := range entries {
		e := &entries[i]
		m.Sizes = append(m.Sizes, uint32(len(e.Data)))
		n := len(m.Runs)
		if n > 0 && m.Runs[n-3] == uint64(e.Term) && m.Runs[n-2] == uint64(e.Type) {
			m.Runs[n-1]++
			continue
		}
		m.Runs = append(m.Runs, uint64(e.Term), uint64(e.Type), 1)
	}
}

func appendIDs(to []uint64, ids []raft.MemberID) []uint64 {
	for _, id := range ids {
		to = append(to, uint64(id))
	}
	return to
}

// clearMessage empties a message, and keeps the memory of its lists.
func clearMessage(m *pb.Message) {
	m.Term, m.Index, m.LogTerm, m.Commit, m.Round, m.Match, m.Yes = 0, 0, 0, 0, 0, 0, false
	m.Runs, m.Sizes, m.Voters, m.Learners = m.Runs[:0], m.Sizes[:0], m.Voters[:0], m.Learners[:0]
}

// A Decoder decodes the payloads of frames. It keeps memory for the next one.
type Decoder struct{ m pb.Message }

// Message decodes a message. Data of entries is in the payload's memory. The error is *Malformed; raft checks whether the
// fields are consistent.
func (d *Decoder) Message(k Kind, payload []byte) (raft.Message, error) {
	var data []byte
	if k == KindAppend {
		if len(payload) < appendHead {
			return nil, &Malformed{"an append without a length"}
		}
		size := binary.LittleEndian.Uint32(payload)
		if size > appendHeadMax || uint64(size) > uint64(len(payload)-appendHead) {
			return nil, &Malformed{"an append whose message is longer than it"}
		}
		payload, data = payload[appendHead:appendHead+int(size)], payload[appendHead+int(size):]
	}
	d.m.Reset() // UnmarshalVT would collect unknown fields
	if err := d.m.UnmarshalVT(payload); err != nil {
		return nil, &Malformed{err.Error()}
	}
	m := &d.m
	term, index, logTerm := raft.Term(m.Term), raft.Index(m.Index), raft.Term(m.LogTerm)
	switch k {
	case KindPreVote:
		return raft.PreVote{Term: term, LastIndex: index, LastTerm: logTerm}, nil
	case KindPreVoteReply:
		return raft.PreVoteReply{Term: term, Granted: m.Yes}, nil
	case KindVote:
		return raft.Vote{Term: term, LastIndex: index, LastTerm: logTerm, Transfer: m.Yes}, nil
	case KindVoteReply:
		return raft.VoteReply{Term: term, Granted: m.Yes}, nil
	case KindAppend:
		entries, err := readEntries(m, index, data)
		return raft.Append{Term: term, PrevIndex: index, PrevTerm: logTerm, Entries: entries, Commit: raft.Index(m.Commit)}, err
	case KindAppendReply:
		return raft.AppendReply{Term: term, Match: raft.Index(m.Match)}, nil
	case KindAppendReject:
		return raft.AppendReject{Term: term, PrevIndex: index, HintIndex: raft.Index(m.Match), HintTerm: logTerm}, nil
	case KindHeartbeat:
		return raft.Heartbeat{Term: term, Commit: raft.Index(m.Commit), Round: m.Round}, nil
	case KindHeartbeatReply:
		return raft.HeartbeatReply{Term: term, Round: m.Round, Match: raft.Index(m.Match), Received: index}, nil
	case KindCommit:
		return raft.Commit{Term: term, Index: index}, nil
	case KindSnapshot:
		c := raft.Configuration{Voters: readIDs(m.Voters), Learners: readIDs(m.Learners)}
		return raft.Snapshot{Term: term, Meta: raft.SnapshotMeta{Index: index, Term: logTerm, Configuration: c}}, nil
	case KindReadForward:
		return raft.ReadForward{Term: term, Batch: m.Round}, nil
	case KindReadReply:
		return raft.ReadReply{Term: term, Batch: m.Round, Index: index}, nil
	case KindTimeoutNow:
		return raft.TimeoutNow{Term: term}, nil
	case KindStale:
		return raft.Stale{Term: term}, nil
	}
	return nil, &Malformed{"a frame that is no message"}
}

// readEntries gives the entries after prev. It checks the counts of the head against the payload before it uses them.
func readEntries(m *pb.Message, prev raft.Index, data []byte) ([]raft.Entry, error) {
	bytes := uint64(0)
	for _, size := range m.Sizes {
		bytes += uint64(size)
	}
	if len(m.Sizes) > entriesMax || bytes != uint64(len(data)) || len(m.Runs)%3 != 0 {
		return nil, &Malformed{"an append whose entries do not add up"}
	}
	if len(m.Sizes) == 0 && len(m.Runs) == 0 {
		return nil, nil
	}
	entries := make([]raft.Entry, 0, len(m.Sizes))
	for runs := m.Runs; len(runs) > 0; runs = runs[3:] {
		term, entryType, count := raft.Term(runs[0]), runs[1], runs[2]
		if entryType > math.MaxUint8 || count > uint64(cap(entries)-len(entries)) {
			return nil, &Malformed{"an append whose entries do not add up"}
		}
		for range count {
			size := m.Sizes[len(entries)]
			e := raft.Entry{Index: prev + raft.Index(len(entries)) + 1, Term: term, Type: raft.EntryType(entryType)}
			if size > 0 {
				e.Data, data = data[:size:size], data[size:]
			}
			entries = append(entries, e)
		}
	}
	if len(entries) != len(m.Sizes) {
		return nil, &Malformed{"an append whose entries do not add up"}
	}
	return entries, nil
}

func readIDs(ids []uint64) []raft.MemberID {
	var members []raft.MemberID
	for _, id := range ids {
		members = append(members, raft.MemberID(id))
	}
	return members
}

// EncodeSnapshot gives a message as the header of a snapshot's request; false: it cannot be sent.
func EncodeSnapshot(m raft.Snapshot) (string, bool) {
	var e Encoder
	frame, ok := e.Append(nil, m)
	if !ok {
		return "", false
	}
	return base64.StdEncoding.EncodeToString(frame[FrameHead:]), true
}

// ParseSnapshot parses the header of a snapshot's request.
func ParseSnapshot(header http.Header) (raft.Snapshot, error) {
	payload, err := base64.StdEncoding.DecodeString(header.Get(HeaderSnapshot))
	if err != nil || len(payload) == 0 || len(payload) > smallBytesMax {
		return raft.Snapshot{}, BadHeader(header, HeaderSnapshot)
	}
	var d Decoder
	message, err := d.Message(KindSnapshot, payload)
	if err != nil {
		return raft.Snapshot{}, err
	}
	return message.(raft.Snapshot), nil
}
