package rafthttp

import (
	"context"
	"net"
	"sync"
	"testing"

	"canopy/raft"
)

// pipes is a network within the process, for tests whose clock is synctest's.
type pipes struct {
	mu        sync.Mutex // guards listeners
	listeners map[string]*pipeListener
}

// pipeListener is an address in it.
type pipeListener struct {
	name   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: l.name} }

func (p *pipes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	p.mu.Lock()
	l := p.listeners[address]
	p.mu.Unlock()
	if l == nil {
		return nil, net.UnknownNetworkError(address)
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	_ = here.Close()
	_ = there.Close()
	return nil, net.ErrClosed
}

// node makes a member on the network.
func (p *pipes) node(t *testing.T, id raft.MemberID, name string, more ...func(*Options)) *node {
	n := newNode(t, id, append([]func(*Options){func(o *Options) { o.Dial = p.dial }}, more...)...)
	_ = n.listener.Close()
	l := &pipeListener{name: name, conns: make(chan net.Conn), closed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners[name+":80"] = l
	n.listener, n.url = l, "http://"+name
	return n
}

// pipedPair are two members that are connected.
func pipedPair(t *testing.T, more ...func(*Options)) (a, b *node) {
	p := &pipes{listeners: map[string]*pipeListener{}}
	a, b = p.node(t, 0xa, "a.example", more...), p.node(t, 0xb, "b.example", more...)
	connect(a, b)
	a.run()
	b.run()
	connected(a, b)
	return a, b
}
