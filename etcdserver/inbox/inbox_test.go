package inbox

import "testing"

func TestAnInboxIsBounded(t *testing.T) {
	b := New[int](2)
	if !b.Put(1) || !b.Put(2) || b.Put(3) {
		t.Error("an inbox for two took another number of items")
	}
	<-b.Wake()
	if got := b.Take(nil); len(got) != 2 || got[0] != 1 || got[1] != 2 {
		t.Errorf("Take = %v, want 1 and 2", got)
	}
	if !b.Put(4) {
		t.Error("an emptied inbox is full")
	}
	<-b.Wake()
}

func TestAnInboxIsBoundedInBytes(t *testing.T) {
	b := New[int](100).Weighing(func(bytes int) int { return bytes }, 10)
	for _, c := range []struct {
		bytes int
		taken bool
	}{{1000, true}, {1, false}} { // one item always fits
		if got := b.Put(c.bytes); got != c.taken {
			t.Errorf("an item of %d bytes: %v, want %v", c.bytes, got, c.taken)
		}
	}
	b.Take(nil)
	if !b.Put(4) || !b.Put(6) || b.Put(1) {
		t.Error("not exactly ten bytes fit after the inbox was emptied")
	}
}
