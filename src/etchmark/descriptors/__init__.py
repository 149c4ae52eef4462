"""Descriptors of microstructures: spatial statistics of phases and fields (numpy and scipy)."""

from etchmark.descriptors.ensembles import GROUPS as GROUPS
from etchmark.descriptors.ensembles import descriptor_groups as descriptor_groups
from etchmark.descriptors.ensembles import energy_distance as energy_distance
from etchmark.descriptors.ensembles import group_distances as group_distances
from etchmark.descriptors.fields import characteristic_length as characteristic_length
from etchmark.descriptors.fields import components as components
from etchmark.descriptors.fields import count_components as count_components
from etchmark.descriptors.fields import power_spectrum as power_spectrum
from etchmark.descriptors.fields import squared_gradient as squared_gradient
from etchmark.descriptors.fields import structure_factor as structure_factor
from etchmark.descriptors.fields import two_point_statistics as two_point_statistics
from etchmark.descriptors.overlap import Overlap as Overlap
from etchmark.descriptors.overlap import largest_overlaps as largest_overlaps
from etchmark.descriptors.overlap import overlap_limits as overlap_limits
