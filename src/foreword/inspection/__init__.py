"""What a foreword learned: the words near it, what attention it gets, what it changes, and what it can do without."""

from foreword.inspection.ensemble import Ensemble as Ensemble
from foreword.inspection.ensemble import ensemble as ensemble
from foreword.inspection.examine import Inspection as Inspection
from foreword.inspection.examine import Wanted as Wanted
from foreword.inspection.examine import inspect as inspect
from foreword.inspection.likeness import Likeness as Likeness
from foreword.inspection.likeness import likeness as likeness
from foreword.inspection.minimal import save_minimal as save_minimal
from foreword.inspection.plain import plain as plain
from foreword.inspection.subject import Subject as Subject
