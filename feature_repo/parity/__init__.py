"""Offline equals online, shown: what the online store held is compared with the point-in-time value of its moment."""
