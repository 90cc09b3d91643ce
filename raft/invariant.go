package raft

import (
	"fmt"

	"canopy/raft/membership"
)

// Check compares what the machine keeps beside its log with the log itself, and gives the first difference. It is for tests and
// simulations, since it walks over the whole log.
func (m *Machine) Check() error {
	bytes := int64(0)
	entries := m.log.Slice(m.log.Base(), m.log.Last())
	for i := range entries {
		bytes += entries[i].Size()
	}
	if bytes != m.log.Bytes() {
		return fmt.Errorf("raft: %d counts %d bytes of log, and has %d", m.id, m.log.Bytes(), bytes)
	}
	l := &m.log
	if l.Base() > m.commit || m.commit > l.Last() || max(l.Durable, l.Handed) > l.Last() || m.applying > m.commit || m.applied > m.applying {
		return fmt.Errorf("raft: %d has positions out of order: log (%d, %d], handed %d, durable %d, commit %d, applying %d, applied %d",
			m.id, l.Base(), l.Last(), l.Handed, l.Durable, m.commit, m.applying, m.applied)
	}
	if lag := l.Size(m.applied, m.commit); lag != m.lag {
		return fmt.Errorf("raft: %d counts %d bytes that are not applied, and has %d", m.id, m.lag, lag)
	}
	from, first := m.configs.First()
	h := membership.NewHistory(from, first)
	if from > m.log.Base() {
		return fmt.Errorf("raft: %d has no configuration at its base", m.id)
	}
	h, err := h.Extend(entries)
	if err != nil || !h.Latest().Equal(m.configs.Latest()) {
		return fmt.Errorf("raft: %d has configuration %v, and its log says %v", m.id, m.configs.Latest(), h.Latest())
	}
	return m.checkLeading()
}

func (m *Machine) checkLeading() error {
	if m.leading == nil {
		return nil
	}
	if m.ballot != nil {
		return fmt.Errorf("raft: %d is leader and candidate", m.id)
	}
	bytes := int64(0)
	for _, e := range m.log.Slice(m.commit, m.log.Last()) {
		bytes += e.Size()
	}
	if bytes != m.leading.uncommitted {
		return fmt.Errorf("raft: %d counts %d uncommitted bytes, and has %d", m.id, m.leading.uncommitted, bytes)
	}
	return nil
}
