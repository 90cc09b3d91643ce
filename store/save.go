package store

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"canopy/store/storepb"
	"canopy/store/tree"
	"canopy/store/watch"
)

// saveVersion is the version of the snapshot format; Load refuses any other.
const saveVersion = 1

// Save writes the whole state of the view: tree, index, log time, deadlines, history and the counts of changes. Equal states
// give equal bytes on every member, and every key and value is kept to the byte (K130, K134). It can run while the store is
// written. Its memory depends on the depth of the tree and the largest value. It does not flush w.
func (v *View) Save(w io.Writer) error {
	s := saver{out: bufio.NewWriterSize(w, 64<<10)}
	s.record(v.header())
	s.nodes(v.root.Dir())
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
		Time:    int64(v.clock.Now),
		Shift:   int64(v.clock.Shift),
		Oldest:  uint64(v.history.Oldest()),
		Events:  uint64(v.history.Events()),
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

// message is the content of a record.
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

// past writes the events of the history, oldest first.
func (s *saver) past(h *watch.History) {
	var m storepb.Event
	c := h.From(0)
	for e := c.Next(); e != nil; e = c.Next() {
		m.Index, m.Action, m.Flags, m.Json = uint64(e.Index()), uint32(e.Action()), uint32(e.Flags()), e.JSON()
		m.Key = append(m.Key[:0], e.Key()...)
		s.events++
		s.record(&m)
	}
}

// nodes writes all nodes below the root in depth-first order, and then one of depth 0, which ends them.
func (s *saver) nodes(root *tree.Dir) {
	open := make([]tree.Cursor, 1, 8)
	open[0].Start(root)
	var m storepb.Node
	for len(open) > 0 && s.err == nil {
		n := open[len(open)-1].Next()
		if n == nil {
			open = open[:len(open)-1]
			continue
		}
		m.Depth = uint32(len(open))
		m.Name = append(m.Name[:0], n.Name()...)
		m.Value = append(m.Value[:0], n.Value()...)
		m.Dir = n.Dir() != nil
		m.Created, m.Modified, m.Deadline = uint64(n.Created()), uint64(n.Modified()), int64(n.Deadline())
		s.count++
		s.record(&m)
		if n.Dir() == nil {
			continue
		}
		if len(open) < cap(open) {
			open = open[:len(open)+1] // reuses the memory of an earlier cursor
		} else {
			open = append(open, tree.Cursor{})
		}
		open[len(open)-1].Start(n.Dir())
	}
	s.record(&storepb.Node{})
}
