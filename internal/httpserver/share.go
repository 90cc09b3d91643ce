package httpserver

import "net/netip"

// shares are the connections of a Budget by client, so that one client cannot have all of them.
type shares struct {
	most int // connections of one client; 0: no bound
	of   map[netip.Prefix]map[*budgetConn]struct{}
}

// LimitClients bounds the connections of one client, which is an IPv4 address or a /64 of IPv6; 0: by the budget alone.
// Call it before any Listener is used.
func (b *Budget) LimitClients(most int) {
	if most > 0 && most < b.max {
		b.shares = shares{most, map[netip.Prefix]map[*budgetConn]struct{}{}}
	}
}

func (s *shares) add(c *budgetConn) {
	if s.most == 0 {
		return
	}
	if s.of[c.client] == nil {
		s.of[c.client] = map[*budgetConn]struct{}{}
	}
	s.of[c.client][c] = struct{}{}
}

func (s *shares) remove(c *budgetConn) {
	if delete(s.of[c.client], c); len(s.of[c.client]) == 0 {
		delete(s.of, c.client)
	}
}

// crowd gives the connections of which one must be closed before a client gets another: all, or its own; nil: there is
// room. mu is held.
func (b *Budget) crowd(client netip.Prefix) map[*budgetConn]struct{} {
	own := b.shares.of[client]
	switch {
	case b.shares.most > 0 && len(own) >= b.shares.most:
		return own
	case len(b.open) >= b.max:
		return b.open
	}
	return nil
}

// leave stops counting a connection; mu is held.
func (b *Budget) leave(c *budgetConn) {
	delete(b.open, c)
	b.shares.remove(c)
}
