package rafthttp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"canopy/internal/disk"
	"canopy/raft"
	"canopy/snap"
)

var announced = raft.Snapshot{Term: 3, Meta: raft.SnapshotMeta{Index: 7, Term: 2, Configuration: raft.Configuration{Voters: []raft.MemberID{0xa, 0xb}}}}

// zeros is a body of any size.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestSnapshotGoesFromDiskToDisk(t *testing.T) {
	a, b := pair(t)
	meta := snap.Meta{Term: 2, Index: 7}
	from, err := snap.Open(disk.NewMem(), "/snap", snap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	to, err := snap.Open(disk.NewMem(), "/snap", snap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("keys and values"), 1<<18)
	if err := from.Save(meta, func(w io.Writer) error { _, err := w.Write(want); return err }); err != nil {
		t.Fatal(err)
	}
	b.onSnapshot = func(_ context.Context, _ raft.MemberID, m raft.Snapshot, body io.Reader) error {
		return to.Import(snap.Meta{Term: uint64(m.Meta.Term), Index: uint64(m.Meta.Index)}, body, func(io.Reader) error { return nil })
	}
	send := func(damage int) error {
		return from.Export(meta, func(file io.Reader, size int64) error {
			all, err := io.ReadAll(file)
			if err != nil {
				return err
			}
			if damage >= 0 {
				all[damage] ^= 1
			}
			return a.SendSnapshot(context.Background(), 0xb, announced, bytes.NewReader(all), size)
		})
	}
	if err := send(40); err == nil || !strings.Contains(err.Error(), "damaged at offset") {
		t.Errorf("a damaged snapshot: %v", err)
	}
	if metas, err := to.List(); len(metas) != 0 || err != nil {
		t.Errorf("it left %v, %v", metas, err)
	}
	if err := send(-1); err != nil {
		t.Fatal(err)
	}
	err = to.Load(meta, func(r io.Reader) error {
		got, err := io.ReadAll(r)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived", len(got))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if s := a.statusOf(0xb); s.SnapshotSent == 0 || s.SnapshotSize != 0 {
		t.Errorf("progress is %d of %d", s.SnapshotSent, s.SnapshotSize)
	}
}

// A body that fails, the sender's context, or the receiver interrupts it.
func TestInterruptedSnapshotFailsOnBothSides(t *testing.T) {
	a, b := pair(t)
	received := make(chan error, 1)
	b.onSnapshot = func(_ context.Context, _ raft.MemberID, _ raft.Snapshot, body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		received <- err
		return err
	}
	broken := errors.New("disk error")
	err := a.SendSnapshot(context.Background(), 0xb, announced, io.MultiReader(bytes.NewReader(make([]byte, 1000)), iotest.ErrReader(broken)), 5000)
	if !errors.Is(err, broken) {
		t.Errorf("a body that failed: %v", err)
	}
	if err := <-received; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("was received with %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sent := make(chan error, 1)
	go func() {
		for { // the receiver may not have ended the one before
			err := a.SendSnapshot(ctx, 0xb, announced, zeros{}, 1<<50)
			if ctx.Err() != nil {
				sent <- err
				return
			}
		}
	}()
	eventually(t, "it is under way", func() bool { return a.statusOf(0xb).SnapshotSent > 1<<20 })
	cancel()
	if err := <-sent; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled one: %v", err)
	}
	if err := <-received; err == nil {
		t.Error("a cancelled one was received whole")
	}
	refused := errors.New("no room on this disk")
	b.onSnapshot = func(_ context.Context, _ raft.MemberID, _ raft.Snapshot, body io.Reader) error {
		_, err := io.CopyN(io.Discard, body, 100_000)
		return errors.Join(err, refused)
	}
	eventually(t, "the receiver breaks it off", func() bool { // when it has ended the one before
		if err := a.SendSnapshot(context.Background(), 0xb, announced, zeros{}, 1<<50); err == nil {
			t.Error("one that the receiver broke off was taken")
		}
		return strings.Contains(b.logged.String(), "no room on this disk")
	})
}

// The receiver reads nothing, and the sender sends nothing.
func TestStalledSnapshotEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipedPair(t)
		b.onSnapshot = func(ctx context.Context, _ raft.MemberID, _ raft.Snapshot, body io.Reader) error {
			_, err := body.Read(make([]byte, 1))
			<-ctx.Done()
			return errors.Join(err, ctx.Err())
		}
		began := time.Now()
		err := a.SendSnapshot(context.Background(), 0xb, announced, zeros{}, 1<<50)
		if err == nil || !strings.Contains(err.Error(), "no data received or sent") {
			t.Errorf("to one that takes nothing: %v", err)
		}
		if took := time.Since(began); took < snapshotStall || took > 2*snapshotStall {
			t.Errorf("it took %v", took)
		}
		silent, feed := net.Pipe()
		sent := make(chan error, 1)
		began = time.Now()
		go func() { sent <- b.SendSnapshot(context.Background(), 0xa, announced, silent, 1000) }()
		a.logs("the snapshot up to index 7 from b (")
		a.logs("was not accepted")
		if took := time.Since(began); took < snapshotStall || took > 2*snapshotStall {
			t.Errorf("a body that does not come was waited for, for %v", took)
		}
		_ = feed.Close()
		if err := <-sent; err == nil {
			t.Error("one without a body was sent")
		}
		_ = silent.Close()
	})
}

// Storing takes longer than the sender waits for a silent receiver.
func TestLongInstallationKeepsItsSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipedPair(t)
		b.onSnapshot = func(ctx context.Context, _ raft.MemberID, _ raft.Snapshot, body io.Reader) error {
			if _, err := io.Copy(io.Discard, body); err != nil {
				return err
			}
			return pause(ctx, 5*time.Minute)
		}
		if err := a.SendSnapshot(context.Background(), 0xb, announced, strings.NewReader("body"), 4); err != nil {
			t.Error(err)
		}
	})
}

func TestFewSnapshotsAreReceivedAtOnce(t *testing.T) {
	nodes := []*node{newNode(t, 0xa), newNode(t, 0xb), newNode(t, 0xc), newNode(t, 0xd)}
	b := nodes[1]
	release := make(chan struct{})
	var receiving atomic.Int32
	b.onSnapshot = func(_ context.Context, _ raft.MemberID, _ raft.Snapshot, body io.Reader) error {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		receiving.Add(1)
		<-release
		return nil
	}
	connect(nodes...)
	for _, n := range nodes {
		n.run()
	}
	send := func(n *node) error {
		return n.SendSnapshot(context.Background(), 0xb, announced, strings.NewReader("body"), 4)
	}
	results := make(chan error, 2)
	for i, n := range []*node{nodes[0], nodes[2]} {
		go func() { results <- send(n) }()
		eventually(t, "it is being received", func() bool { return int(receiving.Load()) == i+1 })
	}
	for _, n := range []*node{nodes[0], nodes[3]} { // a second one of one member, and a third one in all
		if err := send(n); err == nil || !strings.Contains(err.Error(), "503 Service Unavailable") {
			t.Errorf("one too many: %v", err)
		}
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := send(nodes[3]); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

func TestSnapshotThatIsNotNeededIsNotSent(t *testing.T) {
	a, b := pair(t)
	b.onSnapshot = func(context.Context, raft.MemberID, raft.Snapshot, io.Reader) error { return nil }
	if err := a.SendSnapshot(context.Background(), 0xb, announced, iotest.ErrReader(errors.New("read")), 1<<40); err != nil {
		t.Error(err)
	}
}

func TestSnapshotRateIsKept(t *testing.T) {
	a, b := pair(t, func(o *Options) { o.SnapshotRate = 1 << 20 })
	_ = b
	began := time.Now()
	if err := a.SendSnapshot(context.Background(), 0xb, announced, zeros{}, 1<<19); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("half a second's worth took %v", took)
	}
}

func TestSnapshotToAnUnknownMemberFails(t *testing.T) {
	a := newNode(t, 0xa).run()
	if err := a.SendSnapshot(context.Background(), 0xb, announced, zeros{}, 1); err == nil {
		t.Error("it was sent")
	}
	a.SetPeers([]Peer{{ID: 0xb, URLs: []string{"http://127.0.0.1:1"}}, {ID: 0xc}, {ID: 0xd, URLs: []string{"gopher://x"}}})
	for id, want := range map[raft.MemberID]string{0xb: "connection refused", 0xc: "no URLs", 0xd: "is no http URL"} {
		if err := a.SendSnapshot(context.Background(), id, announced, zeros{}, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to %x: %v, want %s", id, err, want)
		}
	}
}
