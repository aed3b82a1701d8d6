"""What the backbone consumes: plain tensors that a method compiles to."""

from foreword.injections.injection import Injection as Injection
from foreword.injections.injection import KeyValues as KeyValues
from foreword.injections.injection import SoftTokens as SoftTokens
from foreword.injections.injection import Weights as Weights
from foreword.injections.sites import Bottleneck as Bottleneck
from foreword.injections.sites import LowRank as LowRank
from foreword.injections.sites import ScaleInput as ScaleInput
from foreword.injections.sites import ScaleOutput as ScaleOutput
from foreword.injections.sites import Shift as Shift
from foreword.injections.sites import Sites as Sites
