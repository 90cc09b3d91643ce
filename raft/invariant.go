package raft

import "fmt"

// Check compares what the machine keeps beside its log with the log itself, and says what differs. It is for tests and simulations:
// it walks over the whole log.
func (m *Machine) Check() error {
	bytes := int64(0)
	entries := m.log.slice(m.log.base, m.log.last())
	for i := range entries {
		bytes += entries[i].size()
	}
	if bytes != m.log.bytes {
		return fmt.Errorf("raft: %d counts %d bytes of log, and has %d", m.id, m.log.bytes, bytes)
	}
	l := &m.log
	if l.base > m.commit || m.commit > l.last() || max(l.durable, l.handed) > l.last() || m.applying > m.commit || m.applied > m.applying {
		return fmt.Errorf("raft: %d is ahead of itself: log (%d, %d], handed %d, durable %d, commit %d, applying %d, applied %d",
			m.id, l.base, l.last(), l.handed, l.durable, m.commit, m.applying, m.applied)
	}
	if lag := l.size(m.applied, m.commit); lag != m.lag {
		return fmt.Errorf("raft: %d counts %d bytes that are not applied, and has %d", m.id, m.lag, lag)
	}
	h := configHistory{[]configStep{m.configs.steps[0]}}
	if h.steps[0].index > m.log.base {
		return fmt.Errorf("raft: %d has no configuration at its base", m.id)
	}
	h, err := h.extend(entries)
	if err != nil || !h.latest().Equal(m.configs.latest()) {
		return fmt.Errorf("raft: %d has configuration %v, and its log says %v", m.id, m.configs.latest(), h.latest())
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
	for _, e := range m.log.slice(m.commit, m.log.last()) {
		bytes += e.size()
	}
	if bytes != m.leading.uncommitted {
		return fmt.Errorf("raft: %d counts %d uncommitted bytes, and has %d", m.id, m.leading.uncommitted, bytes)
	}
	return nil
}
