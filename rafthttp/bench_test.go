package rafthttp

import (
	"context"
	"testing"

	"canopy/raft"
)

// BenchmarkRoundTrip sends a heartbeat to another member over loopback, which answers it: four hops between goroutines and two
// through the kernel.
func BenchmarkRoundTrip(b *testing.B) {
	x, y := newNode(b, 0xa), newNode(b, 0xb)
	answered := make(chan struct{}, 1)
	x.onReceive = func(context.Context, raft.MemberID, []raft.Message) { answered <- struct{}{} }
	y.onReceive = func(context.Context, raft.MemberID, []raft.Message) {
		y.Send([]raft.Outbound{{To: 0xa, Message: raft.HeartbeatReply{Term: 1}}})
	}
	x.discards, y.discards = true, true
	connect(x, y)
	x.run()
	y.run()
	connected(x, y)
	out := heartbeat(0xb, 1)
	b.ReportAllocs()
	for b.Loop() {
		x.Send(out)
		<-answered
	}
}

// BenchmarkAppends has 64 appends in flight.
func BenchmarkAppends(b *testing.B) {
	for name, size := range map[string]int{"256 B": 256, "16 KiB": 16 << 10, "1 MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			x, y := newNode(b, 0xa), newNode(b, 0xb)
			room := make(chan struct{}, 64)
			y.onReceive = func(_ context.Context, _ raft.MemberID, messages []raft.Message) {
				for range messages {
					<-room
				}
			}
			x.discards, y.discards = true, true
			connect(x, y)
			x.run()
			y.run()
			connected(x, y)
			out := bulk(0xb, 1, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				room <- struct{}{}
				x.Send(out)
			}
		})
	}
}
