package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"canopy/store/storepb"
)

// saveVersion is the version of the snapshot format; Load refuses any other.
const saveVersion = 1

// Save writes the whole state as of the view: tree, index, log time, deadlines, history and the counts of changes. Equal
// states give equal bytes on every member, and every key and value is kept to the byte (K130, K134). It goes on
// beside writes, in memory that depends on the depth of the tree and the largest value. What w still buffers is w's
// matter.
func (v *View) Save(w io.Writer) error {
	s := saver{out: bufio.NewWriterSize(w, 64<<10)}
	s.record(v.header())
	s.nodes(v.root.dir)
	s.past(&v.history)
	s.record(&storepb.Trailer{Nodes: s.count, Events: s.events, Hash: v.Hash()})
	if s.err == nil {
		s.err = s.out.Flush()
	}
	if s.err != nil {
		return fmt.Errorf("store: save: %w", s.err)
	}
	return nil
}

func (v *View) header() *storepb.Header {
	c := &v.counters
	return &storepb.Header{
		Version: saveVersion,
		Index:   uint64(v.index),
		Time:    int64(v.clock.now),
		Shift:   int64(v.clock.shift),
		Oldest:  uint64(v.history.oldest),
		Events:  uint64(v.history.events),
		Counters: &storepb.Counters{
			SetsSuccess: c.sets.ok, SetsFail: c.sets.failed,
			DeleteSuccess: c.deletes.ok, DeleteFail: c.deletes.failed,
			UpdateSuccess: c.updates.ok, UpdateFail: c.updates.failed,
			CreateSuccess: c.creates.ok, CreateFail: c.creates.failed,
			CompareAndSwapSuccess: c.swaps.ok, CompareAndSwapFail: c.swaps.failed,
			CompareAndDeleteSuccess: c.compareDeletes.ok, CompareAndDeleteFail: c.compareDeletes.failed,
			ExpireCount: c.expired,
		},
	}
}

// message is what a record holds.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
}

// saver writes records. After the first error it writes no more.
type saver struct {
	out           *bufio.Writer
	buf           []byte
	count, events uint64
	err           error
}

// record writes m after its length.
func (s *saver) record(m message) {
	if s.err != nil {
		return
	}
	size := m.SizeVT()
	if cap(s.buf) < size+binary.MaxVarintLen64 {
		s.buf = make([]byte, 2*(size+binary.MaxVarintLen64))
	}
	head := binary.PutUvarint(s.buf[:cap(s.buf)], uint64(size))
	b := s.buf[:head+size]
	if _, s.err = m.MarshalToSizedBufferVT(b[head:]); s.err == nil {
		_, s.err = s.out.Write(b)
	}
}

// past writes the events that are held, oldest first.
func (s *saver) past(h *history) {
	var m storepb.Event
	p := h.from(0)
	for e := p.next(); e != nil; e = p.next() {
		m.Index, m.Action, m.Flags, m.Json = uint64(e.index), uint32(e.action), uint32(e.flags), e.json
		m.Key = append(m.Key[:0], e.key...)
		s.events++
		s.record(&m)
	}
}

// nodes writes all that is below the root in depth-first order, and the node of depth 0 that ends them.
func (s *saver) nodes(root *directory) {
	open := make([]cursor, 1, 8)
	open[0].start(root)
	var m storepb.Node
	for len(open) > 0 && s.err == nil {
		n := open[len(open)-1].next()
		if n == nil {
			open = open[:len(open)-1]
			continue
		}
		m.Depth = uint32(len(open))
		m.Name = append(m.Name[:0], n.name...)
		m.Value = append(m.Value[:0], n.value...)
		m.Dir = n.dir != nil
		m.Created, m.Modified, m.Deadline = uint64(n.created), uint64(n.modified), int64(n.deadline)
		s.count++
		s.record(&m)
		if n.dir == nil {
			continue
		}
		if len(open) < cap(open) {
			open = open[:len(open)+1] // with the memory of a cursor used before
		} else {
			open = append(open, cursor{})
		}
		open[len(open)-1].start(n.dir)
	}
	s.record(&storepb.Node{})
}
