package protocol

import (
	"cmp"
	"slices"
)

// A device may bring itself into a group, without having seen the others of its
// identity. So one member could bring thousands: each would have records in everybody's
// memory, and a wrap in each epoch at the cost of the others'. A roster therefore counts
// MaxSeated devices of an identity: those that came by admissions or the genesis before
// those that came by a device.add, then by the time that the event claims, then by its
// id. That is a function of the set alone, and nobody but the identity itself can push
// one of its devices out.

// seat is a device with the first of the events that bring it.
type seat struct {
	dev   Key
	added bool // by a device.add
	hlc   uint64
	by    ID
}

func (a seat) compare(b seat) int {
	if a.added != b.added {
		if b.added {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.hlc, b.hlc), a.by.Compare(b.by), a.dev.Compare(b.dev))
}

// seat takes note of a certificate that an event brings.
func (s *Set) seat(c Cert, v Verified) {
	x := seat{dev: c.Dev, added: v.Header().Kind == KindDeviceAdd, hlc: v.Header().HLC, by: v.id}
	list := s.seats[c.Root]
	if i := slices.IndexFunc(list, func(o seat) bool { return o.dev == x.dev }); i >= 0 {
		if list[i].compare(x) <= 0 {
			return
		}
		list = slices.Delete(list, i, i+1)
	}
	at, _ := slices.BinarySearchFunc(list, x, seat.compare)
	list = slices.Insert(list, at, x)
	s.seats[c.Root] = list[:min(len(list), MaxSeated)]
}

// seated says whether a device is one of those of its identity that a roster counts.
func (s *Set) seated(root, dev Key) bool {
	return slices.ContainsFunc(s.seats[root], func(o seat) bool { return o.dev == dev })
}
