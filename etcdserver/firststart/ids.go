package firststart

import (
	"crypto/sha1"
	"encoding/binary"
	"slices"
	"strings"

	"canopy/etcdserver/replica"
)

// MemberIDOf derives the ID of a first member from its peer URLs, sorted, and the
// cluster's token (B15).
func MemberIDOf(peerURLs []string, token string) replica.ID {
	sorted := slices.Sorted(slices.Values(peerURLs))
	sum := sha1.Sum([]byte(strings.Join(sorted, "") + token))
	return replica.ID(binary.BigEndian.Uint64(sum[:8]))
}

// ClusterIDOf derives the cluster's ID from those of its first members (B16).
func ClusterIDOf(members []replica.ID) replica.ID {
	var bytes []byte
	for _, id := range slices.Sorted(slices.Values(members)) {
		bytes = binary.BigEndian.AppendUint64(bytes, uint64(id))
	}
	sum := sha1.Sum(bytes)
	return replica.ID(binary.BigEndian.Uint64(sum[:8]))
}
